// The name of this machine.
#pragma once

#include <string>

namespace trireme::launch {

/// As gethostname() has it; "unknown" where the system does not say.
std::string host_name();

}  // namespace trireme::launch
