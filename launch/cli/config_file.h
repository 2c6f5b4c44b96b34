// Writes a configuration as an INI file.
#pragma once

#include <string>

#include "launch/cli/options/option.h"

namespace trireme::launch {

/// All options of a complete configuration but those without effect and the run directory. Read back, it
/// gives the same configuration.
std::string write_config(const RunConfig& config);

}  // namespace trireme::launch
