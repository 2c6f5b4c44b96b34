// Folds: where a model has a place for scales of a linear layer's inputs.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/compress/folded_weights.h"
#include "models/compress/input_statistics.h"
#include "models/spec/model_spec.h"

namespace trireme {

/// Scales s of the inputs that some matrices read: their columns are multiplied by s, and what makes the
/// inputs is divided by it, so that the function of the model stays. Places there are: a norm before the
/// attention or feed-forward part (its gain and bias), of which nothing else reads the output; the values'
/// rows before the output projection (attention sums values with weights that do not depend on them); the
/// rows of `up` before `down` where the part is gated, of each expert its own. Not: what reads the residual
/// stream itself, and what lies behind a nonlinearity.
struct FoldPlace {
  std::string name;                  ///< "layers.3.attention_norm", what is divided
  size_t step = 0;                   ///< of calibration_steps(): that of the readers,
  int expert = -1;                   ///< and whose statistics
  std::vector<std::string> readers;  ///< matrices of linear layers whose columns are multiplied,
  std::vector<std::string> routers;  ///< and routers
  std::vector<std::string> divided;  ///< vectors' elements and matrices' rows
  /// Inputs come in runs; `repeats` neighbouring runs are made by the same rows (query heads that share a
  /// value head), and have one scale.
  int64_t run = 0, repeats = 1;

  /// The row that input i comes from.
  int64_t row_of(int64_t input) const {
    return run == 0 ? input : input / (run * repeats) * run + input % run;
  }
};

std::vector<FoldPlace> fold_places(const ModelSpec& spec, int64_t block);

/// Mean and largest magnitudes that are equal where inputs have one scale.
InputStatistics shared_magnitudes(const FoldPlace& place, InputStatistics statistics);
/// Scales that are equal where they have to be: the largest of each.
std::vector<float> shared_scales(const FoldPlace& place, std::vector<float> scales);
/// Folds them into all weights that the place names. They are shared_scales().
void fold(const FoldPlace& place, std::span<const float> scales, FoldedWeights& weights);

}  // namespace trireme
