// PackedLoader: weights of a source for the blocks of a model that is only read.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/inference/inference_model.h"
#include "models/inference/packed_rows.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "parallel/module/parameter.h"

namespace trireme {

/// Matrices that layers multiply with and token tables are packed (InferenceOptions::weights), the members of
/// a block that have one format, and codes one order of inputs, in one part; of experts all in one, in the
/// compute type where the file has them in several. Codes (WeightSource::coded) are kept as they are where
/// the options ask for no other format; matrices that the file has without their zeros are held so
/// (PackedSpec::sparse) where the options ask for nothing. Vectors are f32; routers and tables of positions
/// have the compute type, rounded once to nearest even as a training's are. Reads what this rank holds alone;
/// rows of a matrix on all threads.
class PackedLoader {
 public:
  /// `source` and `options` outlive it. UserError (usage) for formats that there are not.
  PackedLoader(Context& ctx, const WeightSource& source, const InferenceOptions& options);

  /// Points the block to its weights. UserError naming file and tensor: bad_input of the source, and for
  /// values that are not finite where the format is an integer's; usage where a format of ggml is asked for
  /// that the file does not have.
  void load(ParameterBlock& block);
  /// What these will take; reads no values, but for sources that check theirs first.
  LoadForecast forecast(std::span<ParameterBlock* const> blocks) const;
  /// Of all blocks so far, without the time.
  LoadReport report() const;

 private:
  static int64_t num_experts_of(const ParameterBlock& block);
  struct FormatCount {
    int64_t bytes = 0, numbers = 0;
    double zeros = 0;  // of sparse weights
  };
  /// As load() packs them.
  std::vector<PackedMember> members_of(const ParameterBlock& block) const;
  /// PackedWeight::scales of what it becomes.
  DType scales_of(const PackedMember& member) const;
  int64_t packed_bytes(std::span<const PackedMember> members, int64_t matrices) const;
  ops::PackedFormat compute_format() const;
  Tensor plain(const ParameterBlock& block);
  ops::PackedSpec asked_spec(const Parameter& p, const std::optional<StoredMatrix>& stored) const;
  ops::PackedSpec stored_spec(const Parameter& p, const std::optional<StoredMatrix>& stored) const;
  bool can_be_sparse(const ops::PackedSpec& spec) const;
  PackedMember member_of(const Parameter& p) const;
  ops::PackedWeight pack(std::span<PackedMember> run, int64_t matrices);
  std::vector<ops::PackedWeight> pack_codes(std::span<PackedMember> run, int64_t matrices);
  void count(std::span<const PackedMember> run, const ops::PackedWeight& weight);

  Context& ctx_;
  const WeightSource& source_;
  const InferenceOptions& options_;
  std::map<std::string, StoredKind, std::less<>> kinds_;
  int64_t file_bytes_ = 0, weight_bytes_ = 0;
  std::map<std::string, FormatCount> by_format_;
};

}  // namespace trireme
