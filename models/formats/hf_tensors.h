// Where parameters lie in the safetensors files of Hugging Face's transformers.
#pragma once

#include <string_view>

#include "models/config/model_config.h"
#include "models/formats/tensor_map.h"

namespace trireme {

/// Names and rows in files of this architecture, a class of transformers ("LlamaForCausalLM"), of all
/// parameters. A tied matrix is there once, as the embedding.
TensorMap hf_tensor_map(const ModelConfig& config, std::string_view architecture);

/// Whether transformers writes, or once wrote, a tensor of this name that holds no weights: tables of RoPE,
/// masks of attention.
bool is_hf_buffer(std::string_view name);

}  // namespace trireme
