#include "runtime/ops/cuda/column_sums.cuh"

#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/gemm/gemm.h"

namespace trireme::ops::cuda {

namespace {

constexpr int kLanesOfRows = 8;
constexpr int64_t kRowsAChunk = 128, kRowsOfOnePass = 512;

/// A block sums kWarp packs of columns over one chunk of rows, each thread every eighth row; the eight sums
/// are added in order. With `partials` they go to partials[chunk], otherwise (one chunk) they are added to
/// out.
template <class T>
__global__ void column_sums_kernel(const T* x, int64_t rows, int64_t columns, int64_t stride,
                                   int64_t rows_a_chunk, float* partials, float* out) {
  auto* sums = shared_memory<float>();
  const int64_t c = (int64_t{blockIdx.x} * kWarp + threadIdx.x) * kPack;
  const int64_t first = blockIdx.y * rows_a_chunk;
  const int64_t end = first + rows_a_chunk < rows ? first + rows_a_chunk : rows;
  const int count = c < columns ? pack_size(c, columns) : 0;
  float total[kPack] = {};
  if (count > 0) {
    for (int64_t r = first + threadIdx.y; r < end; r += kLanesOfRows) {
      float values[kPack];
      load(x + r * stride + c, count, values);
      for (int j = 0; j < kPack; ++j) total[j] += values[j];
    }
  }
  // [pack element][row lane][column lane]: neighbours in a warp lie in neighbouring banks.
  for (int j = 0; j < kPack; ++j) sums[(j * kLanesOfRows + threadIdx.y) * kWarp + threadIdx.x] = total[j];
  __syncthreads();
  // Each row lane finishes one element of the packs.
  const int j = static_cast<int>(threadIdx.y);
  if (j >= count) return;
  float sum = 0;
  for (int lane = 0; lane < kLanesOfRows; ++lane)
    sum += sums[(j * kLanesOfRows + lane) * kWarp + threadIdx.x];
  if (partials != nullptr) {
    partials[blockIdx.y * columns + c + j] = sum;
  } else {
    out[c + j] += sum;
  }
}

template <class T>
void launch_column_sums(Context& ctx, const T* x, int64_t rows, int64_t columns, int64_t stride,
                        int64_t chunks, float* partials, float* out) {
  static_assert(kLanesOfRows == kPack);
  const dim3 grid(static_cast<unsigned>(ceil_div(columns, kWarp * kPack)), static_cast<unsigned>(chunks));
  launch(ctx, column_sums_kernel<T>, grid, dim3(kWarp, kLanesOfRows),
         kPack * kLanesOfRows * kWarp * sizeof(float), x, rows, columns, stride, ceil_div(rows, chunks),
         partials, out);
}

}  // namespace

template <class T>
void add_column_sums_of(Context& ctx, const T* x, int64_t rows, int64_t columns, int64_t stride, float* out) {
  if (rows <= kRowsOfOnePass) return launch_column_sums<T>(ctx, x, rows, columns, stride, 1, nullptr, out);
  const int64_t wanted = ceil_div(rows, kRowsAChunk),
                chunks = wanted < kRowsOfOnePass ? wanted : kRowsOfOnePass;
  const Tensor partials = Tensor::empty(ctx, {chunks, columns}, DType::f32, MemoryCategory::buffers);
  launch_column_sums<T>(ctx, x, rows, columns, stride, chunks, partials.data<float>(), nullptr);
  launch_column_sums<float>(ctx, partials.data<float>(), chunks, columns, columns, 1, nullptr, out);
}

template void add_column_sums_of(Context&, const float*, int64_t, int64_t, int64_t, float*);

void add_column_sums(Context& ctx, const Columns& x, const Tensor& out) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    add_column_sums_of(ctx, x.data<T>(), x.rows(), x.count, x.stride(), out.data<float>());
  });
}

}  // namespace trireme::ops::cuda
