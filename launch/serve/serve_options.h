// Options of trireme serve.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "launch/cli/plain_arguments.h"
#include "launch/serve/serve.h"

namespace trireme::launch {

/// Rows for help and parser; `arguments` outlives them.
std::vector<PlainOption> server_options(ServeArguments& arguments);
std::vector<PlainOption> serving_model_options(ServeArguments& arguments);

/// All but a key among the arguments, which other users of the machine would see: that is refused.
ServeArguments parse_serve(std::span<const std::string> args, int world_size);

}  // namespace trireme::launch
