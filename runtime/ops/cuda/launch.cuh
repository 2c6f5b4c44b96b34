// How the host starts kernels. All launches of the program go through launch().
#pragma once

#include "runtime/device/cuda/cuda_stream.h"
#include "runtime/ops/compute_type.h"

namespace trireme::ops::cuda {

inline constexpr int kWarp = 32;
/// Shared memory that a block may have without asking.
inline constexpr size_t kSharedBytesWithoutAsking = 48 << 10;

/// Starts `kernel` on the context's stream; a grid without blocks does nothing. Throws EnvironmentError where
/// the device refuses the sizes.
template <class... Parameters, class... Arguments>
void launch(Context& ctx, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (shared_bytes > kSharedBytesWithoutAsking) {
    trireme::cuda::check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                              static_cast<int>(shared_bytes)),
                         "cudaFuncSetAttribute");
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = trireme::cuda::raw_stream(ctx.stream());
  trireme::cuda::check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...),
                       "cudaLaunchKernelEx");
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// The grid's x for `n` blocks of work; kernels loop where there are fewer blocks than that.
inline unsigned num_blocks(int64_t n, int64_t most = 1 << 16) {
  return static_cast<unsigned>(n < most ? n : most);
}

/// Threads for a row of `packs` packs: whole warps, at most `most`.
inline unsigned row_threads(int64_t packs, int64_t most) {
  const int64_t threads = ceil_div(packs > 0 ? packs : 1, kWarp) * kWarp;
  return static_cast<unsigned>(threads < most ? threads : most);
}

#ifdef __CUDACC__
/// The block's dynamic shared memory, aligned to 16 bytes. Kernels have no other, so that a run on the host
/// can make it a heap block of its own.
template <class T>
__device__ T* shared_memory() {
  extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];
  return reinterpret_cast<T*>(dynamic_shared_memory);
}
#else
template <class T>
T* shared_memory() {
  return reinterpret_cast<T*>(cuda_on_host::shared_memory());
}
#endif

}  // namespace trireme::ops::cuda
