// trireme bench serve: from arguments to the load of launch/bench/serving.
#pragma once

#include <span>
#include <string>

#include "launch/commands/commands.h"

namespace trireme::launch {

/// The lines of its options.
std::string bench_serve_help();

void bench_serve(std::span<const std::string> args, const RankPlace& place);

}  // namespace trireme::launch
