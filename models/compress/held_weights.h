// HeldWeights: the weights that a rank computes with, by name, while some are replaced.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/compress/folded_weights.h"
#include "models/inference/inference_model.h"
#include "runtime/ops/packed/coded_matrix.h"

namespace trireme {

class HeldWeights {
 public:
  /// Both outlive it. `activations`: with which codes are multiplied.
  HeldWeights(Context& ctx, InferenceModel& model, const FoldedWeights& weights,
              ops::Activations activations);

  /// The block that has this parameter, where the rank holds some of it; else null.
  ParameterBlock* find(const std::string& name) const;
  /// The member of that block, as this rank holds it.
  const Parameter& held(const std::string& name) const;

  /// From now on the rank's part of the matrix is this: packed where its columns are whole groups in their
  /// order, else values of the compute type, rounded once; refresh() makes it so. Not held: nothing happens.
  void set(const std::string& name, const ops::CodedMatrix& whole);
  /// Likewise values, of the whole matrix.
  void set(const std::string& name, std::span<const float> whole);
  /// The parameter is what the source `from` has, which may be codes. Errors of the source.
  void set_from(const std::string& name, const WeightSource& from);
  /// Whether something was set that refresh() has not used.
  bool has_news(const std::string& name) const { return contents_.contains(name); }
  /// Packs the block of this parameter anew: members that were set since the last time, and the others as
  /// they were loaded or, where scales were folded into them, from the folded weights.
  void refresh(const std::string& name);

 private:
  struct Place {
    ParameterBlock* block;
    size_t member;
  };
  struct Content {
    std::optional<ops::CodedMatrix> codes;  // of the rank's part
    std::vector<float> values;              // else these
  };
  enum class Kind : uint8_t { codes, values, as_loaded };
  Kind kind_of(const Parameter& p) const;
  bool is_alike(const Parameter& a, const Parameter& b) const;
  bool has_same_order(const Parameter& a, const Parameter& b) const;
  std::vector<float> values_of(const Parameter& p) const;
  Tensor plain(const ParameterBlock& block) const;
  ops::PackedWeight pack_values(std::span<const Parameter> members, int64_t matrices) const;
  ops::PackedWeight pack_codes(std::span<const Parameter> members, int64_t matrices) const;
  std::vector<ops::PackedWeight> pack(const ParameterBlock& block) const;
  void append_run(const ParameterBlock& block, std::span<const Parameter> run, int64_t matrices,
                  std::vector<ops::PackedWeight>& parts) const;

  Context& ctx_;
  const FoldedWeights& weights_;
  DType compute_type_;
  ops::Activations activations_;
  std::map<std::string, Place> places_;
  std::map<std::string, Content> contents_;
};

}  // namespace trireme
