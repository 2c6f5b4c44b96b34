// Suggests the nearest layouts that work, if the requested one does not.
#pragma once

#include <string>
#include <vector>

#include "models/config/validate.h"

namespace trireme {

/// The degrees of up to `most` layouts of `world_size` ranks in which the model trains without error of
/// layout (layout_errors()), nearest to those of `wanted` first: "--dp 2 --tp 4". Nearness is the number of
/// doublings that the degrees differ by.
std::vector<std::string> nearest_layouts(const ModelConfig& model, const ParallelPlan& wanted,
                                         const BatchSpec& batch, int world_size, size_t most);

}  // namespace trireme
