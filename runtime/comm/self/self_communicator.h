// A group of one rank.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/comm/communicator.h"

namespace trireme {

/// What the group's abort() does besides making its own operations fail; must not throw or wait.
using AbortHook = std::function<void(std::string_view reason, ExitCode code)>;

/// One rank: every operation is a copy in the stream's order, or nothing. A group that
/// lies inside a larger job passes an `on_abort` that aborts the job.
std::unique_ptr<Communicator> make_self_communicator(std::string name = "world", AbortHook on_abort = {});

}  // namespace trireme
