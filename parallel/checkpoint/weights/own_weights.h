// Weights in a file that save_weights() wrote.
#pragma once

#include <memory>
#include <string>

#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme {

/// Maps the file (f32, bf16 or f16 under the names of parameters). Errors of SafetensorsReader.
std::unique_ptr<WeightSource> open_own_weights(const std::string& path);

}  // namespace trireme
