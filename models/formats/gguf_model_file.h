// Writes a model as a GGUF file.
#pragma once

#include <string>

#include "models/config/model_config.h"
#include "models/formats/gguf_config.h"
#include "models/formats/parameter_values.h"
#include "models/formats/tensor_map.h"
#include "runtime/io/gguf/gguf_type.h"
#include "runtime/io/gguf/gguf_value.h"

namespace trireme {

/// What a tensor is stored as where matrices are `matrices`: f32 for vectors, gains, routers and tables of
/// positions, as llama.cpp's converter has them; f16 in place of q8_0 where rows are no multiple of 32.
GgufType gguf_type_of(const StoredTensorShape& tensor, GgufType matrices);

/// general.file_type of llama.cpp for such a file.
uint32_t gguf_file_type(GgufType matrices);

/// All metadata of a file: the keys of `model`, and those of `original` (of the file that the model came
/// from, or none) and `tokenizer` (tokenizer.*, or none). Keys stand where `original` has them, with the
/// values that hold now; its keys of the architecture, and of how the file was split or quantized, that do
/// not hold any more are left out.
GgufMetadata gguf_metadata(const GgufModel& model, GgufType matrices, const GgufMetadata& original,
                           const GgufMetadata& tokenizer);

/// Writes `file`, tensor by tensor; it appears whole. Errors of GgufWriter and of `values`.
void write_gguf_model(const std::string& file, const ModelConfig& config, const GgufModel& model,
                      const GgufMetadata& metadata, GgufType matrices, const ParameterValues& values);

/// What reading the file gives for `values`: each rounded as it is stored.
ParameterValues rounded_as_gguf(const ModelConfig& config, const GgufModel& model, GgufType matrices,
                                ParameterValues values);

}  // namespace trireme
