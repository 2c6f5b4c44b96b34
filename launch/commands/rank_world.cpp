#include "launch/commands/rank_world.h"

#include <unistd.h>

#include "launch/commands/run_facts.h"
#include "launch/preflight/choose_device.h"
#include "runtime/comm/mpi/mpi_environment.h"
#include "runtime/comm/nccl/nccl_communicator.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme::launch {

namespace {

std::unique_ptr<Communicator> make_recorded_world(const RankPlace& place, Recorder& recorder) {
  auto world = place.mpi == nullptr ? make_self_communicator() : place.mpi->make_world();
  world->set_recorder(&recorder);
  return world;
}

std::unique_ptr<Communicator> make_agreed_world(const RankPlace& place, Recorder& recorder,
                                                std::span<const Fact> facts) {
  if (place.mpi == nullptr) return make_recorded_world(place, recorder);
  place.mpi->meet_ready(place.command);
  auto world = make_recorded_world(place, recorder);
  std::vector<Fact> all = build_facts(place);
  all.insert(all.end(), facts.begin(), facts.end());
  check_agreement(*world, all, host_name());
  return world;
}

}  // namespace

std::string host_name() {
  char name[256] = "unknown";
  ::gethostname(name, sizeof name - 1);
  return name;
}

RankWorld make_world(const RunOptions& run, const RankPlace& place, std::span<const Fact> facts) {
  RankWorld ranks;
  ranks.recorder = std::make_unique<Recorder>(run.record_calls);
  ranks.world = make_agreed_world(place, *ranks.recorder, facts);
  const int local_rank = place.mpi != nullptr ? place.mpi->local_rank() : 0;
  const DeviceChoice choice = choose_device(run, *ranks.world, local_rank);
  ranks.device = choice.device;
  if (choose_backend(run, choice, ranks.world->size()) == BackendKind::nccl) {
    ranks.world = make_nccl_world(std::move(ranks.world), ranks.device,
                                  {.collective_ctas = run.nccl_ctas, .channel_ctas = run.nccl_channel_ctas});
  }
  if (run.check_collectives) ranks.world->set_call_check(CallCheck::step);
  return ranks;
}

}  // namespace trireme::launch
