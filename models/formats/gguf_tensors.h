// Where parameters lie in GGUF files as llama.cpp reads them.
#pragma once

#include <string_view>

#include "models/config/model_config.h"
#include "models/formats/tensor_map.h"

namespace trireme {

/// Names and rows in files of the architecture gguf_architecture_of(), of all parameters: tensors of experts
/// are [experts, rows, columns], rows of query and key are in the order of rotary_rows.h, gains are whole
/// (Gemma's too). A tied matrix is there once, as the token table.
TensorMap gguf_tensor_map(const ModelConfig& config);
/// As files of this architecture would have them, whether or not it computes this model.
TensorMap gguf_tensor_map(const ModelConfig& config, std::string_view architecture);

}  // namespace trireme
