// A format for each matrix of a step that has several to choose from.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "launch/compress/compression.h"
#include "models/compress/quantize_model.h"

namespace trireme::launch {

using MatrixPlans = std::function<MatrixPlan(const std::string& name)>;

/// `plans` with the formats that the step's budget allows (models/compress/sensitivity.h), of matrices of
/// layers. They are measured on the first of the calibration's samples, and kept in `directory` for a later
/// attempt. Plans of a step without `widths` are given back. All ranks call it alike.
MatrixPlans with_widths(Compression& c, const QuantizeStep& step, InferenceModel& model,
                        const WeightSource& source, MatrixPlans plans, const std::string& directory);

}  // namespace trireme::launch
