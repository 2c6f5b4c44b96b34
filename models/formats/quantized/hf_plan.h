// How a model with quantized matrices lies in a directory of transformers.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/formats/quantized/quantized_files.h"
#include "models/formats/tensor_map.h"

namespace trireme {

/// A tensor as the directory would have it as numbers.
struct HfQuantizedTensor {
  StoredTensorShape stored;
  std::vector<std::string> parameters;  ///< that it is made of
  std::optional<ops::PackedSpec> spec;  ///< of its codes; nothing: numbers
  bool is_linear = false;               ///< a matrix that is multiplied with, and no table

  std::string module() const;  ///< "model.layers.0.mlp.up_proj"
};

struct HfQuantizedPlan {
  TensorMap map;
  std::vector<HfQuantizedTensor> tensors;
  std::vector<std::string> errors;  ///< why the format cannot hold it, with the tensor and what would work
  std::vector<std::string> notes;   ///< sentences on what becomes of what
  bool has_tied_head = false;
};

HfQuantizedPlan plan_hf_quantized(QuantizedFormat format, const ModelConfig& config,
                                  const std::string& architecture,
                                  const std::vector<QuantizedTensor>& tensors);

/// The codes of a stored matrix, put together from those of its parameters. UserError (usage) where their
/// orders of inputs differ.
ops::CodedMatrix assemble_codes(const HfQuantizedPlan& plan, const HfQuantizedTensor& tensor,
                                const std::function<ops::CodedMatrix(const std::string&)>& matrix);

}  // namespace trireme
