// As GraphOverNccl of cuda_communicator_nccl, over the host's stand-in.
#include "tests/runtime/comm/graph_conformance.h"

#include "tests/support/nccl_on_host/nccl_ranks.h"

namespace trireme::test {
namespace {

TEST(GraphOverNccl, EachLaunchDoesWhatTheCallsDid) {
  for (const int num_ranks : {1, 2, 3}) {
    run_nccl_ranks(num_ranks, [](Communicator& world, Device) { expect_captured_operations(world); });
  }
}

}  // namespace
}  // namespace trireme::test
