// RMSNorm of rows that ranks share: a block works on a row.
#include "runtime/ops/shared_norm.h"

#include "runtime/ops/cuda/column_sums.cuh"
#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/reduce.cuh"

namespace trireme::ops::cuda {

namespace {

constexpr int kMostSharedThreads = 512;

/// Rows of some columns of a matrix.
template <class T>
struct RowsOf {
  T* first;
  int64_t stride;

  RowsOf(const Columns& c) : first(c.data<T>()), stride(c.stride()) {}
  __device__ T* operator[](int64_t r) const { return first + r * stride; }
};

/// Calls body(column, count) for this thread's packs of a row.
template <class Body>
__device__ void for_packs_of_row(int64_t width, const Body& body) {
  for (int64_t c = int64_t{threadIdx.x} * kPack; c < width; c += int64_t{blockDim.x} * kPack)
    body(c, pack_size(c, width));
}

template <class T>
__global__ void __launch_bounds__(kMostSharedThreads)
    squares_kernel(RowsOf<T> x, int64_t rows, int64_t width, RowsOf<float> squares) {
  auto* scratch = shared_memory<float>();
  for (int64_t n = blockIdx.x; n < rows; n += gridDim.x) {
    float sum = 0;
    for_packs_of_row(width, [&](int64_t c, int count) {
      float values[kPack];
      load(x[n] + c, count, values);
      for (const float value : values) sum += value * value;
    });
    sum = block_reduce(sum, Sum{}, scratch);
    if (threadIdx.x == 0) *squares[n] = sum;
  }
}

/// rstd may be squares: all threads of a block have read the row's before one of them writes.
template <class T>
__global__ void __launch_bounds__(kMostSharedThreads)
    normed_kernel(RowsOf<T> x, RowsOf<float> squares, int64_t rows, int64_t width, float all_columns,
                  const float* gain, float eps, RowsOf<T> y, RowsOf<float> rstd) {
  for (int64_t n = blockIdx.x; n < rows; n += gridDim.x) {
    const float scale = 1.0f / sqrtf(*squares[n] / all_columns + eps);
    for_packs_of_row(width, [&](int64_t c, int count) {
      float values[kPack], gains[kPack];
      load(x[n] + c, count, values);
      load(gain + c, count, gains);
      for (int j = 0; j < kPack; ++j) values[j] *= scale * gains[j];
      store(y[n] + c, count, values);
    });
    __syncthreads();
    if (threadIdx.x == 0) *rstd[n] = scale;
  }
}

/// A block walks through `rows_a_block` rows; its sums for dgain stay in shared memory, each column with one
/// thread, and end up in partials[block].
template <class T>
__global__ void __launch_bounds__(kMostSharedThreads)
    sums_kernel(RowsOf<T> dy, RowsOf<T> x, const float* gain, RowsOf<float> rstd, int64_t rows, int64_t width,
                int64_t rows_a_block, RowsOf<float> sums, float* partials) {
  auto* scratch = shared_memory<float>();
  float* dgain = scratch + kMostSharedThreads / kWarp;
  for_packs_of_row(width, [&](int64_t c, int count) {
    for (int j = 0; j < count; ++j) dgain[c + j] = 0;
  });
  const int64_t first = blockIdx.x * rows_a_block;
  const int64_t end = first + rows_a_block < rows ? first + rows_a_block : rows;
  for (int64_t n = first; n < end; ++n) {
    const float scale = *rstd[n];
    float sum = 0;
    for_packs_of_row(width, [&](int64_t c, int count) {
      float values[kPack], d[kPack], gains[kPack];
      load(x[n] + c, count, values);
      load(dy[n] + c, count, d);
      load(gain + c, count, gains);
      for (int j = 0; j < count; ++j) {
        const float h = values[j] * scale;
        sum += d[j] * gains[j] * h;
        dgain[c + j] += d[j] * h;
      }
    });
    sum = block_reduce(sum, Sum{}, scratch);
    if (threadIdx.x == 0) *sums[n] = sum;
  }
  for_packs_of_row(width, [&](int64_t c, int count) {
    for (int j = 0; j < count; ++j) partials[blockIdx.x * width + c + j] = dgain[c + j];
  });
}

template <class T>
struct SharedGradient {
  RowsOf<T> dy, x, dx;
  RowsOf<float> rstd, sums;
  const float* gain;
  float all_columns;
  __device__ void operator()(int64_t row, int64_t c, int count) const {
    const float scale = *rstd[row], mean = *sums[row] / all_columns;
    float values[kPack], d[kPack], gains[kPack];
    load(x[row] + c, count, values);
    load(dy[row] + c, count, d);
    load(gain + c, count, gains);
    for (int j = 0; j < kPack; ++j) d[j] = scale * (d[j] * gains[j] - values[j] * scale * mean);
    store(dx[row] + c, count, d);
  }
};

unsigned threads_of_shared(int64_t width) { return row_threads(ceil_div(width, kPack), kMostSharedThreads); }

constexpr size_t kScratchBytes = kMostSharedThreads / kWarp * sizeof(float);

}  // namespace

void shared_norm_squares(Context& ctx, const Columns& x, const Columns& squares) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    launch(ctx, squares_kernel<T>, num_blocks(x.rows()), threads_of_shared(x.count), kScratchBytes,
           RowsOf<T>(x), x.rows(), x.count, RowsOf<float>(squares));
  });
}

void shared_norm(Context& ctx, const Columns& x, const Columns& squares, int64_t width, const Tensor& gain,
                 float eps, const Columns& y, const Columns& rstd) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    launch(ctx, normed_kernel<T>, num_blocks(x.rows()), threads_of_shared(x.count), 0, RowsOf<T>(x),
           RowsOf<float>(squares), x.rows(), x.count, static_cast<float>(width), gain.data<float>(), eps,
           RowsOf<T>(y), RowsOf<float>(rstd));
  });
}

void shared_norm_backward_sums(Context& ctx, const Columns& dy, const Columns& x, const Tensor& gain,
                               const Columns& rstd, const Columns& sums, const Tensor& dgain) {
  // Depends on the number of rows alone; at most 512 blocks.
  const int64_t rows_a_block = ceil_div(x.rows(), 512) > 8 ? ceil_div(x.rows(), 512) : 8;
  const int64_t blocks = ceil_div(x.rows(), rows_a_block);
  if (blocks == 0) return;
  const Tensor partials = Tensor::empty(ctx, {blocks, x.count}, DType::f32, MemoryCategory::buffers);
  const size_t shared = kScratchBytes + static_cast<size_t>(x.count) * sizeof(float);
  with_compute_type(x.dtype(), [&]<class T>(T) {
    launch(ctx, sums_kernel<T>, static_cast<unsigned>(blocks), threads_of_shared(x.count), shared,
           RowsOf<T>(dy), RowsOf<T>(x), gain.data<float>(), RowsOf<float>(rstd), x.rows(), x.count,
           rows_a_block, RowsOf<float>(sums), partials.data<float>());
  });
  add_column_sums_of(ctx, partials.data<float>(), blocks, x.count, x.count, dgain.data<float>());
}

void shared_norm_backward(Context& ctx, const Columns& dy, const Columns& x, const Tensor& gain,
                          const Columns& rstd, const Columns& sums, int64_t width, const Columns& dx) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    launch_rows(ctx, x.rows(), x.count,
                SharedGradient<T>{RowsOf<T>(dy), RowsOf<T>(x), RowsOf<T>(dx), RowsOf<float>(rstd),
                                  RowsOf<float>(sums), gain.data<float>(), static_cast<float>(width)});
  });
}

}  // namespace trireme::ops::cuda
