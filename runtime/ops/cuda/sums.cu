// Sums in double over blocks of kSumBlock elements, then of runs of blocks, then of the runs.
#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/reduce.cuh"
#include "runtime/ops/elementwise.h"

namespace trireme::ops::cuda {

namespace {

constexpr int kThreads = kSumBlock / kPack;

/// sums[b] = the sum of block b's elements or of their squares.
template <class T, bool kSquares>
__global__ void block_sums_kernel(const T* t, int64_t numel, int64_t num_blocks_of_sum, double* sums) {
  auto* scratch = shared_memory<double>();
  for (int64_t b = blockIdx.x; b < num_blocks_of_sum; b += gridDim.x) {
    const int64_t i = b * kSumBlock + int64_t{threadIdx.x} * kPack;
    double sum = 0;
    if (i < numel) {
      float x[kPack];
      load(t + i, pack_size(i, numel), x);
      for (const float value : x) sum += kSquares ? double{value} * double{value} : double{value};
    }
    sum = block_reduce(sum, Sum{}, scratch);
    if (threadIdx.x == 0) sums[b] = sum;
  }
}

/// out[block] = the sum of `run` of the sums, one after the other, the first block's from *start (if that is
/// there) on. All threads fetch, the first adds, so that the adding waits for no memory.
__global__ void add_in_order_kernel(const double* sums, int64_t count, int64_t run, const double* start,
                                    double* out) {
  auto* piece = shared_memory<double>();
  const int64_t first = blockIdx.x * run, last = first + run < count ? first + run : count;
  double total = blockIdx.x == 0 && start != nullptr ? *start : 0;
  for (int64_t begin = first; begin < last; begin += blockDim.x) {
    const int64_t n = last - begin < int64_t{blockDim.x} ? last - begin : int64_t{blockDim.x};
    if (threadIdx.x < n) piece[threadIdx.x] = sums[begin + threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int64_t i = 0; i < n; ++i) total += piece[i];
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) out[blockIdx.x] = total;
}

void launch_add_in_order(Context& ctx, const Tensor& sums, int64_t run, const double* start, double* out) {
  constexpr int kFetchers = 512;
  launch(ctx, add_in_order_kernel, static_cast<unsigned>(ceil_div(sums.numel(), run)), kFetchers,
         kFetchers * sizeof(double), sums.data<double>(), sums.numel(), run, start, out);
}

template <bool kSquares>
void sum_blocks(Context& ctx, const Tensor& t, const Tensor& sums) {
  with_compute_type(t.dtype(), [&]<class T>(T) {
    launch(ctx, block_sums_kernel<T, kSquares>, num_blocks(sums.numel()), kThreads,
           kThreads / kWarp * sizeof(double), t.data<T>(), t.numel(), sums.numel(), sums.data<double>());
  });
}

template <bool kSquares>
void add_block_sums(Context& ctx, const Tensor& t, const Tensor& out) {
  const Tensor sums =
      Tensor::empty(ctx, {ceil_div(t.numel(), kSumBlock)}, DType::f64, MemoryCategory::buffers);
  sum_blocks<kSquares>(ctx, t, sums);
  cuda::add_in_order(ctx, sums, out);
}

}  // namespace

void add_sum(Context& ctx, const Tensor& t, const Tensor& out) { add_block_sums<false>(ctx, t, out); }

void add_sum_of_squares(Context& ctx, const Tensor& t, const Tensor& out) {
  add_block_sums<true>(ctx, t, out);
}

void block_sums_of_squares(Context& ctx, const Tensor& t, const Tensor& sums) {
  sum_blocks<true>(ctx, t, sums);
}

void add_in_order(Context& ctx, const Tensor& sums, const Tensor& out) {
  auto* total = out.data<double>();
  const int64_t runs = ceil_div(sums.numel(), kSumRun);
  if (runs <= 1) return launch_add_in_order(ctx, sums, kSumRun, total, total);
  const Tensor of_runs = Tensor::empty(ctx, {runs}, DType::f64, MemoryCategory::buffers);
  launch_add_in_order(ctx, sums, kSumRun, total, of_runs.data<double>());
  launch_add_in_order(ctx, of_runs, runs, nullptr, total);
}

}  // namespace trireme::ops::cuda
