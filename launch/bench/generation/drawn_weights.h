// Weights of a model that there is no file of, for measurements: drawn numbers, in any format.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "runtime/ops/packed/packed_weight.h"

namespace trireme::launch {

class DrawnWeights final : public WeightSource {
 public:
  /// `stored`: one of ggml's formats, in which all matrices of layers and token tables are; nothing: floats.
  /// UserError (usage) naming a matrix whose rows are no whole blocks of it.
  DrawnWeights(const ModelConfig& config, std::optional<ops::PackedFormat> stored);

  const std::string& path() const override { return name_; }
  std::map<std::string, StoredKind, std::less<>> kinds() const override { return kinds_; }
  /// Uniform numbers with the mean and the standard deviation of the parameter's initial values.
  void read(std::string_view name, const Parameter& p, std::span<float> values) const override;
  /// All rows of a matrix are alike: blocks of random bits with scales of a usual size.
  std::optional<StoredMatrix> stored(std::string_view name, const Parameter& p) const override;

 private:
  std::string name_;
  std::optional<ops::PackedFormat> stored_;
  std::map<std::string, StoredKind, std::less<>> kinds_;
  std::vector<std::byte> row_;  // of the widest matrix
};

}  // namespace trireme::launch
