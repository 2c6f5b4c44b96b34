// Errors of a model's rotary positions.
#pragma once

#include <string>
#include <vector>

#include "models/config/model_config.h"

namespace trireme {

/// Those of the fields that have an effect, each with the values and the nearest that work; the sizes of
/// heads are sound.
std::vector<std::string> rotary_errors(const ModelConfig& config);

}  // namespace trireme
