// trireme bench generate: from arguments to a table of speeds.
#pragma once

#include <span>
#include <string>

#include "launch/commands/commands.h"

namespace trireme::launch {

/// The lines of its options.
std::string bench_generate_help();

void bench_generate(std::span<const std::string> args, const RankPlace& place);

}  // namespace trireme::launch
