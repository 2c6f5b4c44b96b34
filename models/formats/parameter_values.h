// Where weights that are written to files come from.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/ops/packed/coded_matrix.h"

namespace trireme {

/// A parameter of the model, whole, as f32, by its name. Asked for once each time it is needed; nothing is
/// kept, so that writers hold no more than the tensor that they write and the one that it is made of.
using ParameterValues = std::function<std::vector<float>(const std::string& name)>;

/// Parameters that are there as codes with scales, whole, by their names: how, without reading them, and the
/// codes. Both give nothing for others, or are null together where there are none.
struct ParameterCodes {
  std::function<std::optional<ops::PackedSpec>(const std::string& name)> spec = nullptr;
  std::function<std::optional<ops::CodedMatrix>(const std::string& name)> matrix = nullptr;
};

/// What an input of a matrix counts for in squared errors, by the name of the parameter: the mean of x^2 over
/// a calibration, [inputs], none negative; empty: all alike.
using InputImportance = std::function<std::vector<float>(const std::string& name)>;

}  // namespace trireme
