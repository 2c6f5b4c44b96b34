#include "launch/commands/rank_world.h"

#include <algorithm>

#include "launch/commands/rank_watch.h"
#include "launch/commands/run_facts.h"
#include "launch/preflight/choose_device.h"
#include "launch/process/host_name.h"
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

void make_agreed_world(const RunOptions& run, const RankPlace& place, std::span<const Fact> facts,
                       RankWorld& ranks) {
  if (place.mpi != nullptr) place.mpi->meet_ready(place.command);
  ranks.world = make_recorded_world(place, *ranks.recorder);
  if (place.watch != nullptr) place.watch->start(run, place.mpi, *ranks.world, ranks.recorder);
  if (place.mpi == nullptr) return;
  std::vector<Fact> all = build_facts(place);
  all.insert(all.end(), facts.begin(), facts.end());
  check_agreement(*ranks.world, all, host_name());
}

}  // namespace

RankWorld make_world(const RunOptions& run, const RankPlace& place, std::span<const Fact> facts) {
  RankWorld ranks;
  // A trace has every call, and reads them once a layer or step.
  constexpr int64_t kLeastForTrace = 4096;
  const bool is_traced = run.trace.first > 0;
  ranks.recorder =
      std::make_shared<Recorder>(is_traced ? std::max(run.record_calls, kLeastForTrace) : run.record_calls);
  make_agreed_world(run, place, facts, ranks);
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
