// Ranks as threads that talk through NCCL's stand-in.
#pragma once

#include <functional>
#include <memory>

#include "runtime/comm/nccl/nccl_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/cuda_on_host/cuda_runtime.h"
#include "tests/support/nccl_on_host/nccl_job.h"

namespace trireme::test {

/// Calls `body` on each rank, to which a device of its own belongs: as NCCL sees it, and by whoever makes a
/// context of that. All devices have one memory.
inline void run_nccl_ranks(int num_ranks, const std::function<void(Communicator&, Device)>& body) {
  nccl_on_host::begin_job();
  cuda_on_host::num_devices = num_ranks;
  const std::shared_ptr<void> reset(nullptr, [](void*) { cuda_on_host::num_devices = 1; });
  run_thread_ranks(num_ranks, [&](Communicator& threads) {
    const Device device{DeviceType::cuda, threads.rank()};
    const auto world = make_nccl_world(threads.split(0, threads.rank(), "world"), device);
    body(*world, device);
  });
}

}  // namespace trireme::test
