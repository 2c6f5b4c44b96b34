// Sums and maxima over the threads of a warp and of a block. Their order is fixed.
#pragma once

#include "runtime/ops/cuda/launch.cuh"

namespace trireme::ops::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;

/// The thread's place in its warp; blocks have one dim or rows of whole warps.
__device__ inline int lane() { return static_cast<int>(threadIdx.x % kWarp); }

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Min {
  __device__ int64_t operator()(int64_t a, int64_t b) const { return b < a ? b : a; }
};
struct Max {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

/// The same on all lanes.
template <class T, class Op>
__device__ T warp_reduce(T x, Op op) {
#pragma unroll
  for (int lane_mask = kWarp / 2; lane_mask > 0; lane_mask /= 2) {
    x = op(x, __shfl_xor_sync(kAllLanes, x, lane_mask));
  }
  return x;
}

/// The same on all threads of a block of whole warps. `scratch`: shared memory for a value a warp; it may be
/// used again at once. Every thread of the block calls it.
template <class T, class Op>
__device__ T block_reduce(T x, Op op, T* scratch) {
  x = warp_reduce(x, op);
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = x;
  __syncthreads();
  x = scratch[0];
  for (unsigned warp = 1; warp < blockDim.x / kWarp; ++warp) x = op(x, scratch[warp]);
  __syncthreads();
  return x;
}

}  // namespace trireme::ops::cuda
