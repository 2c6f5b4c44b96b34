// Writes a directory of transformers with quantized matrices.
#pragma once

#include <string>
#include <vector>

#include "models/formats/quantized/quantized_files.h"

namespace trireme {

/// write_quantized() of the formats of transformers.
std::string write_hf_quantized(const std::string& directory, const ModelConfig& config,
                               const std::vector<QuantizedTensor>& tensors, const QuantizedContent& content,
                               const QuantizedWriteOptions& options);

/// The class of transformers that config.json in this directory names, else the first that computes the
/// model.
std::string architecture_for(const std::string& directory, const ModelConfig& config);

}  // namespace trireme
