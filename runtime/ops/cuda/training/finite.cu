#include "runtime/ops/training/finite.h"

#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/reduce.cuh"

namespace trireme::ops::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1024;

template <class T>
__device__ int first_nonfinite(const T* t, int count, int none) {
  float x[kPack];
  load(t, count, x);
  int first = none;
  for (int j = kPack - 1; j >= 0; --j) {
    if ((__float_as_uint(x[j]) & 0x7f800000u) == 0x7f800000u) first = j;
  }
  return first;
}
__device__ int first_nonfinite(const double* t, int count, int none) {
  int first = none;
  for (int j = count - 1; j >= 0; --j) {
    if (!(fabs(t[j]) < INFINITY)) first = j;
  }
  return first;
}

/// first[block] = the least index of what the block finds, or n.
template <class T>
__global__ void find_kernel(const T* t, int64_t n, int64_t* first) {
  int64_t least = n;
  const int64_t step = int64_t{gridDim.x} * kThreads * kPack;
  for (int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kPack; i < n && least == n; i += step) {
    const int found = first_nonfinite(t + i, pack_size(i, n), kPack);
    if (found < kPack) least = i + found;
  }
  least = block_reduce(least, Min{}, shared_memory<int64_t>());
  if (threadIdx.x == 0) first[blockIdx.x] = least;
}

/// One block: out[0] = the least of `firsts` and n.
__global__ void least_kernel(const int64_t* firsts, int64_t count, int64_t n, int64_t* out) {
  int64_t least = n;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) least = Min{}(least, firsts[i]);
  least = block_reduce(least, Min{}, shared_memory<int64_t>());
  if (threadIdx.x == 0) out[0] = least;
}

__global__ void propagate_kernel(const double* x, double* out) {
  if (!(fabs(*x) < INFINITY)) *out = NAN;
}

template <class T>
void find(Context& ctx, const Tensor& t, const Tensor& first) {
  constexpr size_t kScratch = kThreads / kWarp * sizeof(int64_t);
  const unsigned blocks = num_blocks(ceil_div(t.numel(), kThreads * kPack), kMostBlocks);
  const Tensor firsts = Tensor::empty(ctx, {blocks}, DType::i64, MemoryCategory::buffers);
  launch(ctx, find_kernel<T>, blocks, kThreads, kScratch, t.data<T>(), t.numel(), firsts.data<int64_t>());
  launch(ctx, least_kernel, 1, kThreads, kScratch, firsts.data<int64_t>(), firsts.numel(), t.numel(),
         first.data<int64_t>());
}

}  // namespace

void find_nonfinite(Context& ctx, const Tensor& t, const Tensor& first) {
  if (t.dtype() == DType::f64) return find<double>(ctx, t, first);
  with_compute_type(t.dtype(), [&]<class T>(T) { find<T>(ctx, t, first); });
}

void propagate_nonfinite(Context& ctx, const Tensor& x, const Tensor& out) {
  launch(ctx, propagate_kernel, 1, 1, 0, x.data<double>(), out.data<double>());
}

}  // namespace trireme::ops::cuda
