#include "models/config/model_config.h"

#include <cmath>

namespace trireme {

std::string_view to_string(ModelFamily family) { return family == ModelFamily::gpt2 ? "gpt2" : "llama"; }

float residual_init_std(const ModelConfig& config) {
  return static_cast<float>(config.init_std / std::sqrt(2.0 * static_cast<double>(config.num_layers)));
}

}  // namespace trireme
