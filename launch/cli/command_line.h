// Parses the command line into settings.
#pragma once

#include <span>
#include <string>

#include "launch/cli/setting.h"

namespace trireme::launch {

/// Reads --key value, --key=value and bare --key (a switch). `keys` are the known keys and aliases; unknown
/// ones are handed over as they are, with the value that follows. -h is --help. An argument without a key is
/// an error.
Settings read_command_line(std::span<const std::string> args, std::span<const std::string> keys);

}  // namespace trireme::launch
