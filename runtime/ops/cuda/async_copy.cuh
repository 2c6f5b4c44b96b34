// Copies from global to shared memory that continue while their thread computes (cp.async of the PTX manual,
// sm_80 and newer). A thread puts copies into groups and waits for its own; what other threads copied is
// there after the barrier that follows their waits. On the host the bytes arrive no sooner than the wait.
#pragma once

#include "runtime/ops/cuda/launch.cuh"

namespace trireme::ops::cuda {

#ifdef __CUDACC__

/// to[0, Bytes) = from[0, Bytes), or zeros where `is_there` is false: nothing is read then. Bytes is 4 or 16,
/// and both addresses are multiples of it.
template <int Bytes>
__device__ void copy_async(void* to, const void* from, bool is_there) {
  static_assert(Bytes == 4 || Bytes == 16);
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = is_there ? Bytes : 0;
  if constexpr (Bytes == 16) {  // past the first cache: no other thread of the block reads the same
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(from), "r"(bytes)
                 : "memory");
  }
}

/// The copies since the last commit are a group, perhaps an empty one.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most the `Running` groups committed last are in flight.
template <int Running = 0>
__device__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Running) : "memory");
}

#else

template <int Bytes>
void copy_async(void* to, const void* from, bool is_there) {
  static_assert(Bytes == 4 || Bytes == 16);
  cuda_on_host::current_block().copies().add(to, from, Bytes, is_there);
}
inline void commit_copies() { cuda_on_host::current_block().copies().commit(); }
template <int Running = 0>
void wait_for_copies() {
  cuda_on_host::current_block().copies().wait(Running);
}

#endif

}  // namespace trireme::ops::cuda
