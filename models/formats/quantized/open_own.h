// Opens a file of ours with quantized matrices.
#pragma once

#include <memory>
#include <string>

#include "models/config/model_config.h"
#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme {

/// `path`: the file, whose header has the metadata (CHECK). Errors of open_quantized().
std::unique_ptr<WeightSource> open_own_quantized(const std::string& path, const ModelConfig& config);

}  // namespace trireme
