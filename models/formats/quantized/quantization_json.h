// Writes "quantization_config" of a config.json of transformers.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "models/formats/quantized/hf_plan.h"

namespace trireme {

/// How the codes of a matrix are stored by compressed-tensors: "pack-quantized", "int-quantized" (int8 whose
/// activations are int8 too) or "float-quantized".
const char* compressed_format(const ops::PackedSpec& spec, ops::Activations activations);

nlohmann::ordered_json compressed_config(const HfQuantizedPlan& plan, ops::Activations activations);
/// `has_order`: some matrix has an activation order.
nlohmann::ordered_json gptq_config(const HfQuantizedPlan& plan, bool has_order);
nlohmann::ordered_json awq_config(const HfQuantizedPlan& plan);

/// Whether all zero points are those of symmetric codes.
bool is_symmetric(const HfQuantizedPlan& plan);

}  // namespace trireme
