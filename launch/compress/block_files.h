// What a step has made, block by block, in files that outlive an interruption.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/compress/quantize_model.h"
#include "models/config/model_config.h"
#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme::launch {

/// Writes a file of quantized weights (our own format) for each block of a step, on rank 0; it appears when
/// the block is done.
class BlockWriter final : public QuantizationSink {
 public:
  /// Called when a block's file is there; may throw to end the work.
  using OnBlock = std::function<void(int64_t index)>;
  /// `directory` exists; `config` and `on_block` outlive the writer.
  BlockWriter(std::string directory, const ModelConfig& config, OnBlock on_block);

  void matrix(const std::string& name, const ops::CodedMatrix& whole) override;
  void values(const std::string& name, const Shape& shape, std::span<const float> whole) override;
  void block_done(int64_t index) override;

 private:
  struct Values {
    Shape shape;
    std::vector<float> numbers;
  };
  std::string directory_;
  const ModelConfig& config_;
  OnBlock on_block_;
  std::map<std::string, ops::CodedMatrix> matrices_;
  std::map<std::string, Values> values_;
};

/// Sources one over the other: a tensor is read from the first that has it.
class LayeredSource final : public WeightSource {
 public:
  /// `path` is what messages name.
  LayeredSource(std::string path, std::vector<std::shared_ptr<const WeightSource>> layers);

  const std::string& path() const override { return path_; }
  std::map<std::string, StoredKind, std::less<>> kinds() const override;
  void read(std::string_view name, const Parameter& p, std::span<float> values) const override;
  std::optional<StoredMatrix> stored(std::string_view name, const Parameter& p) const override;
  std::optional<ops::CodedMatrix> coded(std::string_view name, const Parameter& p) const override;
  std::optional<ops::PackedSpec> coded_spec(std::string_view name, const Parameter& p) const override;

 private:
  const WeightSource& of(std::string_view name) const;

  std::string path_;
  std::vector<std::shared_ptr<const WeightSource>> layers_;
  std::map<std::string, const WeightSource*, std::less<>> places_;
};

/// A source whose matrices are rounded to bf16, but those of `keeps`: what a file will have of them.
std::shared_ptr<const WeightSource> rounded_source(std::shared_ptr<const WeightSource> source,
                                                   std::function<bool(std::string_view)> keeps);

/// The values of a source, whatever they are stored as.
std::shared_ptr<const WeightSource> values_of(std::shared_ptr<const WeightSource> source);

/// `source` without the parameters of `config` that are codes in `coded`.
std::shared_ptr<const WeightSource> without_coded(std::shared_ptr<const WeightSource> source,
                                                  const std::shared_ptr<const WeightSource>& coded,
                                                  const ModelConfig& config);

struct FinishedBlocks {
  std::shared_ptr<const WeightSource> source;  ///< null: none
  int64_t count = 0;                           ///< embeddings, blocks, what comes behind them
};

/// Those that are there without a gap.
FinishedBlocks finished_blocks(const std::string& directory, const ModelConfig& config, int64_t num_blocks);

}  // namespace trireme::launch
