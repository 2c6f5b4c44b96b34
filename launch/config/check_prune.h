// What of a configuration pruning cannot do.
#pragma once

#include <string>
#include <vector>

#include "launch/config/run_config.h"

namespace trireme::launch {

/// A sentence each, with values and what would work. Of a configuration whose model is sound.
std::vector<std::string> prune_errors(const RunConfig& config);

}  // namespace trireme::launch
