// The device and the world communicator of a rank.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "launch/commands/commands.h"
#include "launch/config/run_config.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/record/recorder.h"

namespace trireme::launch {

struct RankWorld {
  std::shared_ptr<Recorder> recorder;  ///< of all that the world and its groups carry
  std::unique_ptr<Communicator> world;
  Device device;
};

/// What run.device and run.backend mean here; every rank calls it. First the ranks meet: one whose arguments
/// are wrong has said so, and all run one command. From then on place.watch watches them. Then they compare
/// their builds and `facts` (check_agreement). Errors of these, of choose_device and choose_backend, and of
/// the backend.
RankWorld make_world(const RunOptions& run, const RankPlace& place, std::span<const Fact> facts);

}  // namespace trireme::launch
