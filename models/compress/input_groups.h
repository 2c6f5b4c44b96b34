// InputGroups: the matrices of a model that calibration looks at, by what they read, in the order of the
// forward pass.
#pragma once

#include <string>
#include <vector>

#include "models/spec/model_spec.h"
#include "parallel/module/parameter.h"

namespace trireme {

/// A block of parameters as the whole model has it: matrices that read one input (of experts: each its own).
struct InputGroup {
  std::string name;  ///< "layers.3.attention.qkv"
  std::vector<Parameter> matrices;
  bool is_row_parallel = false;  ///< tensor-parallel ranks have each some of the inputs

  bool is_of_experts() const { return matrices.front().expert >= 0; }
  int64_t inputs() const { return matrices.front().global_shape[1]; }
};

/// Groups that are calibrated at once, as none of them depends on the others: query, key and value; the
/// output; gate and up, of experts and the shared one too; down.
using CalibrationStep = std::vector<InputGroup>;
std::vector<CalibrationStep> calibration_steps(const ModelSpec& spec, int64_t block);

/// Names of all parameters of a layer (describe.h), each where it is used first; 0: the embedding.
std::vector<Parameter> parameters_of_place(const ModelSpec& spec, int64_t place);

}  // namespace trireme
