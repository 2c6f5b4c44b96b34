// The options of trireme compress.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "launch/compress/compress.h"

namespace trireme::launch {

/// What --help says.
std::string compress_help();

/// Options to arguments that are complete for `world_size` ranks. UserError (usage) with all that is wrong;
/// (bad_input) for a recipe's file that is.
CompressArguments parse_compress(std::span<const std::string> args, int world_size);

}  // namespace trireme::launch
