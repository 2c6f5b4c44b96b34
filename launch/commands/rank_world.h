// The ranks of a command that computes: their device and what they talk through.
#pragma once

#include <memory>

#include "launch/commands/commands.h"
#include "launch/trainer/run_config.h"
#include "runtime/comm/communicator.h"

namespace trireme {

struct RankWorld {
  std::unique_ptr<Communicator> world;
  Device device;
};

/// What run.device and run.backend mean here; every rank calls it. Errors of choose_device and
/// choose_backend, and of the backend.
RankWorld make_world(const RunOptions& run, const RankPlace& place);

}  // namespace trireme
