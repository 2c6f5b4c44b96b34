// How much each layer, head, neuron and expert does for a model, measured on samples.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "models/compress/structured/cut.h"
#include "models/inference/inference_model.h"
#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme {

/// Layers: 1 - mean cosine between what goes into a block and what comes out (block influence, ShortGPT,
/// arXiv 2403.03853). Heads, neurons: the squared contribution of the unit to the output of its part, sum of
/// x_i^2 times the squared norm of the column (head: the quadratic form of its columns) of the matrix behind
/// it (the objective of Wanda and SparseGPT for whole columns). Experts: tokens times routing weight times
/// the norm of their outputs. All ranks of any layout call it alike and get the same numbers up to the order
/// of sums. Samples of equal length, the same on all ranks. Errors of CalibrationPasses. `progress`: on rank
/// 0.
UnitImportance measure_importance(Context& ctx, InferenceModel& model, const WeightSource& source,
                                  const std::vector<std::vector<int32_t>>& samples,
                                  std::optional<int32_t> end_of_text,
                                  const std::function<void(int64_t done, int64_t total)>& progress = {});

}  // namespace trireme
