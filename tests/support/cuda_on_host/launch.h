// Grids and shared memory of the host's stand-in for CUDA.
#pragma once

#include <cstddef>
#include <functional>

#include "tests/support/cuda_on_host/block.h"

namespace trireme::cuda_on_host {

/// Dynamic shared memory beyond 48 KiB has to be allowed for a kernel first, up to what every device of
/// compute capability 8.0 has; false beyond.
bool allow_shared_memory(const void* kernel, int bytes);

/// Whether grids run in every order. Programs that train set it to false in CI, where the conformance suite
/// has run each kernel in all of them: launches then take turns in one order each.
inline bool compares_orders = true;

/// Runs the grid's blocks and threads in ascending order, then, from the same device memory, in descending
/// and in a shuffled order, and throws InternalError where the bytes of device memory differ afterwards: then
/// some thread reads what another writes without waiting for it. Shared memory begins with other bytes each
/// time. False for sizes that CUDA refuses.
bool run_grid(const void* kernel, Dim3 grid, Dim3 block, size_t shared_bytes,
              const std::function<void()>& thread);

}  // namespace trireme::cuda_on_host
