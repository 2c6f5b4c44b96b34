// NCCL's rules for several communicators of one device, as the stand-in judges them (NCCL user guide, "Using
// Multiple NCCL Communicators Concurrently").
#pragma once

#include <vector>

namespace trireme::nccl_on_host {

/// Notes what the calling thread launches for `device`, and says why NCCL could go wrong; null where it could
/// not. One thread launches for a device; devices that have several communicators in common launch their
/// collectives in one order. `collective`: what its communicator is known by, null for a message; `devices`:
/// of the communicator's ranks. Ranks that share a device have no order to be judged.
const char* judge_launch(int device, const void* collective, const std::vector<int>& devices);

/// The next job of this device has another thread, and other communicators in place of these.
void forget_launches_of(int device);

}  // namespace trireme::nccl_on_host
