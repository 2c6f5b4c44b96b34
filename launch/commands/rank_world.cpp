#include "launch/commands/rank_world.h"

#include "launch/trainer/choose_device.h"
#include "runtime/comm/mpi/mpi_environment.h"
#include "runtime/comm/nccl/nccl_communicator.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme {

RankWorld make_world(const RunOptions& run, const RankPlace& place) {
  RankWorld ranks;
  ranks.world = place.mpi != nullptr ? place.mpi->make_world() : make_self_communicator();
  const int local_rank = place.mpi != nullptr ? place.mpi->local_rank() : 0;
  const DeviceChoice choice = choose_device(run, *ranks.world, local_rank);
  ranks.device = choice.device;
  if (choose_backend(run, choice, ranks.world->size()) == "nccl") {
    ranks.world = make_nccl_world(std::move(ranks.world), ranks.device,
                                  {.collective_ctas = run.nccl_ctas, .channel_ctas = run.nccl_channel_ctas});
  }
  return ranks;
}

}  // namespace trireme
