// A configuration as Python hands it over, complete.
#pragma once

#include <string>
#include <vector>

#include "launch/cli/run_arguments.h"

namespace trireme::launch::python {

/// What messages call a dict.
inline constexpr const char* kGivenBy = "config";

/// Those of trireme train, without its switches.
ArgumentRules config_rules();
/// What trireme._config makes of a dict: "--key=value" each. Errors of parse_run_arguments() for trireme
/// train, by the keys of the dict.
RunArguments parse_config(const std::vector<std::string>& arguments, int world_size);

}  // namespace trireme::launch::python
