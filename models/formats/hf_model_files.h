// Writes a model's weights as Hugging Face's transformers does.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/model_config.h"
#include "models/formats/parameter_values.h"
#include "models/formats/tensor_map.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

/// The tensors of each file: in the map's order, the next file where one would be larger than `shard_bytes`
/// (a tensor that is larger has its own); one file alone where all fit. Within a file by name.
std::vector<std::vector<StoredTensorShape>> hf_shards(const TensorMap& map, DType dtype, int64_t shard_bytes);

/// Writes model.safetensors, or model-00001-of-0000N.safetensors and so on with model.safetensors.index.json,
/// into a directory, with "format": "pt". All tensors are of `dtype` (f32, bf16, f16). Holds the tensor that
/// it writes and one parameter. Returns the names of the files.
std::vector<std::string> write_hf_weights(const std::string& directory, const ModelConfig& config,
                                          std::string_view architecture, DType dtype, int64_t shard_bytes,
                                          const ParameterValues& values);

/// What reading these files gives for `values`: each rounded as it is stored.
ParameterValues rounded_as_hf(const ModelConfig& config, std::string_view architecture, DType dtype,
                              ParameterValues values);

}  // namespace trireme
