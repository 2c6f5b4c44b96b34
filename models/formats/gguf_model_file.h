// Writes a model as a GGUF file.
#pragma once

#include <string>

#include "models/config/model_config.h"
#include "models/formats/gguf_config.h"
#include "models/formats/gguf_encoder.h"
#include "models/formats/gguf_file_type.h"
#include "models/formats/parameter_values.h"
#include "runtime/io/gguf/gguf_value.h"

namespace trireme {

/// All metadata of a file: the keys of `model`, and those of `original` (of the file that the model came
/// from, or none) and `tokenizer` (tokenizer.*, or none). Keys stand where `original` has them, with the
/// values that hold now; its keys of the architecture, and of how the file was split or quantized, that do
/// not hold any more are left out.
GgufMetadata gguf_metadata(const GgufModel& model, GgufFileType type, const GgufMetadata& original,
                           const GgufMetadata& tokenizer);

/// Writes `file`, tensor by tensor; it appears whole. Errors of GgufWriter, GgufEncoder and of `content`.
GgufCodesReport write_gguf_model(const std::string& file, const ModelConfig& config, const GgufModel& model,
                                 const GgufMetadata& metadata, GgufFileType type, const GgufContent& content);

/// What reading the file gives: values as they are stored (GgufEncoder::decoded()).
ParameterValues rounded_as_gguf(const ModelConfig& config, const GgufModel& model, GgufFileType type,
                                const GgufContent& content);

}  // namespace trireme
