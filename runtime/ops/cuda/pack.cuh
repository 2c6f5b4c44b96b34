// Packs of eight elements: a thread's unit of work in memory-bound kernels. A whole pack at an aligned
// address moves in vectors of 16 bytes, anything else element by element.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "runtime/ops/cuda/launch.cuh"

namespace trireme::ops::cuda {

inline constexpr int kPack = 8;

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
__device__ inline float widen(fp16 x) { return __half2float(__ushort_as_half(x.bits)); }

__device__ inline void narrow(float x, float& out) { out = x; }
__device__ inline void narrow(float x, bf16& out) { out.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x)); }
__device__ inline void narrow(float x, fp16& out) { out.bits = __half_as_ushort(__float2half_rn(x)); }

template <class T>
__device__ T narrowed(float x) {
  T out;
  narrow(x, out);
  return out;
}

template <class T>
struct alignas(16) Vector {
  T at[16 / sizeof(T)];
};

template <class T>
__device__ bool is_aligned(const T* p) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

/// x = the first `count` (1 to 8) elements from p on, and zeros.
template <class T>
__device__ void load(const T* p, int count, float (&x)[kPack]) {
  constexpr int kPerVector = 16 / sizeof(T);
  if (count == kPack && is_aligned(p)) {
#pragma unroll
    for (int v = 0; v < kPack / kPerVector; ++v) {
      const Vector<T> vector = reinterpret_cast<const Vector<T>*>(p)[v];
#pragma unroll
      for (int i = 0; i < kPerVector; ++i) x[v * kPerVector + i] = widen(vector.at[i]);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kPack; ++i) x[i] = i < count ? widen(p[i]) : 0.0f;
}

/// The first `count` of x, rounded, to p.
template <class T>
__device__ void store(T* p, int count, const float (&x)[kPack]) {
  constexpr int kPerVector = 16 / sizeof(T);
  if (count == kPack && is_aligned(p)) {
#pragma unroll
    for (int v = 0; v < kPack / kPerVector; ++v) {
      Vector<T> vector;
#pragma unroll
      for (int i = 0; i < kPerVector; ++i) narrow(x[v * kPerVector + i], vector.at[i]);
      reinterpret_cast<Vector<T>*>(p)[v] = vector;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kPack; ++i) {
    if (i < count) narrow(x[i], p[i]);
  }
}

/// Elements of the pack that begins at `i` of `n`.
__device__ inline int pack_size(int64_t i, int64_t n) {
  return static_cast<int>(n - i < kPack ? n - i : kPack);
}

/// Calls op(i, count) for each pack of n elements.
template <class Op>
__global__ void elementwise_kernel(int64_t n, Op op) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x * kPack;
  for (int64_t i = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kPack; i < n; i += step) {
    op(i, pack_size(i, n));
  }
}

template <class Op>
void launch_elementwise(Context& ctx, int64_t n, const Op& op) {
  constexpr int kThreads = 256;
  launch(ctx, elementwise_kernel<Op>, num_blocks(ceil_div(n, kThreads * kPack)), kThreads, 0, n, op);
}

/// Calls op(row, column, count) for each pack of the rows, which are `width` long each.
template <class Op>
__global__ void rows_kernel(int64_t rows, int64_t width, Op op) {
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    for (int64_t c = int64_t{threadIdx.x} * kPack; c < width; c += int64_t{blockDim.x} * kPack) {
      op(row, c, pack_size(c, width));
    }
  }
}

template <class Op>
void launch_rows(Context& ctx, int64_t rows, int64_t width, const Op& op) {
  launch(ctx, rows_kernel<Op>, num_blocks(rows), row_threads(ceil_div(width, kPack), 256), 0, rows, width,
         op);
}

/// Stands in for the checks that a CPU body makes: a wrong index ends the kernel, and the next
/// synchronisation reports it.
__device__ inline void expect_index(int64_t index, int64_t limit) {
  if (index < 0 || index >= limit) __trap();
}

}  // namespace trireme::ops::cuda
