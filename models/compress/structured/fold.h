// Folding: layers of a trained model that do alike come to share weights.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "models/config/model_config.h"
#include "models/inference/inference_model.h"
#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme {

/// What weights of another layer do in a layer's place, on samples, each layer getting what it gets in the
/// model as it is. x: the stream before block i; f_j(x): what the weights of block j add to it, with the
/// window and the rotary positions of block j. [layers, layers]; 0 and 1 where the weights are the same, NaN
/// where blocks have other parts.
struct LayerLikeness {
  /// sum |f_j(x) - f_i(x)|^2 / sum |x + f_i(x)|^2 over all tokens: which part of the stream changes.
  std::vector<std::vector<double>> change;
  /// Cosine of all f_j(x) and all f_i(x) as vectors.
  std::vector<std::vector<double>> cosine;
};

/// Every block once at the place of each other one: as much work as a pass for each set of weights there is.
/// Layouts and samples as measure_importance(); all ranks call it alike and get the same.
LayerLikeness measure_likeness(Context& ctx, InferenceModel& model,
                               const std::vector<std::vector<int32_t>>& samples,
                               const std::function<void(int64_t done, int64_t total)>& progress);

/// adjacent: neighbours alone, the best division into runs. likeness: any layers; of the sets there are the
/// two whose union changes least more become one, again and again.
enum class FoldGrouping : uint8_t { adjacent, likeness };

inline constexpr int64_t kMeanWeights = -1;

/// Layers that come to share weights, ascending; stored as those of the first.
struct FoldedSet {
  std::vector<int64_t> layers;
  int64_t values = 0;  ///< the layer among them whose weights all take, or kMeanWeights
};

/// As many sets as `count`, by their first layers: those that change the stream least, summed over the layers
/// of a set that get others' weights, and of each set the weights with which that is least (of equal ones the
/// first). Layers that share weights already stay together. UserError (usage) where so few are not possible
/// since layers have other parts, or not neighbours alike; (numerics) for likeness that is not finite.
std::vector<FoldedSet> choose_sets(const ModelConfig& config, const LayerLikeness& likeness,
                                   FoldGrouping grouping, int64_t count);

/// Layers of the model that have weights of their own, from which values are taken.
std::vector<int64_t> owners_in(const ModelConfig& config, const FoldedSet& set);

/// The config with these sets. UserError (usage) for a model trained through quantization, or sets that are
/// none of its layers'.
ModelConfig fold_config(const ModelConfig& config, const std::vector<FoldedSet>& sets);

/// What `source` has of `config`'s model, as parameters of fold_config(config, sets): of each set the chosen
/// layer's, or the mean of all different ones in f64. Balancing biases stay each layer's own.
std::shared_ptr<const WeightSource> fold_weights(std::shared_ptr<const WeightSource> source,
                                                 const ModelConfig& config,
                                                 const std::vector<FoldedSet>& sets);

}  // namespace trireme
