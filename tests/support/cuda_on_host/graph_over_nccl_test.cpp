// As GraphOverNccl of cuda_communicator_nccl, over the host's stand-in.
#include "tests/runtime/comm/graph_conformance.h"

#include "runtime/comm/nccl/nccl_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"

namespace trireme::test {
namespace {

TEST(GraphOverNccl, EachLaunchDoesWhatTheCallsDid) {
  for (const int num_ranks : {1, 2, 3}) {
    run_thread_ranks(num_ranks, [&](Communicator& threads) {
      const auto world = make_nccl_world(threads.split(0, threads.rank(), "world"), test_device());
      expect_captured_operations(*world);
    });
  }
}

}  // namespace
}  // namespace trireme::test
