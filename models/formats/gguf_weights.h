// Weights of a GGUF file.
#pragma once

#include <memory>
#include <string>

#include "models/config/model_config.h"
#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme {

/// Parameters of a file that read_gguf_config() gave this model for; of the types that GgufReader reads, each
/// as f32. Every rank reads the blocks that its part lies in alone. UserError (bad_input) as GgufReader and
/// mapped_weights().
std::unique_ptr<WeightSource> open_gguf_weights(const std::string& file, const ModelConfig& config);

}  // namespace trireme
