// make_world of the program that generates alone: one rank on the CPU, which nobody watches.
#include <algorithm>

#include "launch/commands/rank_world.h"
#include "launch/preflight/choose_device.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme::launch {

RankWorld make_world(const RunOptions& run, const RankPlace&, std::span<const Fact>) {
  RankWorld ranks;
  ranks.recorder = std::make_shared<Recorder>(run.record_calls);
  ranks.world = make_self_communicator();
  ranks.world->set_recorder(ranks.recorder.get());
  ranks.device = choose_device(run, *ranks.world, 0).device;
  return ranks;
}

}  // namespace trireme::launch
