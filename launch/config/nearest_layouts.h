// Layouts that work, where the one asked for does not.
#pragma once

#include <string>
#include <vector>

#include "launch/config/run_config.h"

namespace trireme {

/// The degrees of up to `most` layouts of `world_size` ranks in which the run has no fault of layout, nearest
/// to those of config.parallel first: "--dp 2 --tp 4". Nearness is the number of doublings that the degrees
/// differ by.
std::vector<std::string> nearest_layouts(const RunConfig& config, int world_size, size_t most);

}  // namespace trireme
