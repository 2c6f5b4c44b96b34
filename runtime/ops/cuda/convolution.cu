// Gated depthwise causal convolution. A thread has a pack of channels of a row, and walks its taps;
// neighbours have neighbouring channels. The formulas are those of the CPU body.
#include "runtime/ops/convolution.h"

#include "runtime/ops/cuda/column_sums.cuh"
#include "runtime/ops/cuda/pack.cuh"

namespace trireme::ops::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int64_t kMostBlocks = 128, kLeastRowsABlock = 64;

template <class T>
struct GatedInputs {
  const T* abx;
  int64_t stride, width;
  T* u;
  __device__ void operator()(int64_t row, int64_t c, int count) const {
    float a[kPack], x[kPack];
    load(abx + row * stride + c, count, a);
    load(abx + row * stride + 2 * width + c, count, x);
    for (int j = 0; j < kPack; ++j) a[j] *= x[j];
    store(u + row * width + c, count, a);
  }
};

/// Rows of runs, and what lies before them.
template <class T>
struct Convolved {
  const T *u, *before, *abx;
  const float* w;
  const int32_t* positions;
  int64_t length, width, kernel, stride;

  Convolved(const ConvolutionShape& s, const Tensor& inputs, const Tensor& inputs_before,
            const Columns& projected, const Tensor& taps, const Tensor& places)
      : u(data_or_null<T>(inputs)),
        before(data_or_null<T>(inputs_before)),
        abx(projected.data<T>()),
        w(taps.data<float>()),
        positions(places.data<int32_t>()),
        length(s.length),
        width(s.width),
        kernel(s.kernel),
        stride(projected.stride()) {}

  /// How many taps row r sees, itself included.
  __device__ int64_t seen(int64_t r) const {
    const int64_t place = before == nullptr ? r % length : kernel;
    int64_t n = int64_t{positions[r]} + 1;
    n = n < kernel ? n : kernel;
    return n < place + 1 ? n : place + 1;
  }
  __device__ const T* tap(int64_t r, int64_t k) const {
    const int64_t place = r % length;
    if (k <= place) return u + (r - k) * width;
    return before + (r / length * (kernel - 1) + kernel - 1 - (k - place)) * width;
  }
  /// sums += the taps of row r times their weights.
  __device__ void convolve(int64_t r, int64_t c, int count, float (&sums)[kPack]) const {
    const int64_t n = seen(r);
    for (int64_t k = 0; k < n; ++k) {
      float values[kPack];
      load(tap(r, k) + c, count, values);
      for (int j = 0; j < count; ++j) sums[j] += w[(c + j) * kernel + k] * values[j];
    }
  }
  /// du += what the rows from `first` on, in its run, give the input `back` rows before it.
  __device__ void gather(const T* dy, int64_t first, int64_t back, int64_t c, int count,
                         float (&du)[kPack]) const {
    const int64_t end = (first / length + 1) * length;
    for (int64_t n = 0; back + n < kernel && first + n < end && positions[first + n] >= back + n; ++n) {
      float b[kPack], d[kPack];
      load(abx + (first + n) * stride + width + c, count, b);
      load(dy + (first + n) * width + c, count, d);
      for (int j = 0; j < count; ++j) du[j] += w[(c + j) * kernel + back + n] * (b[j] * d[j]);
    }
  }
};

template <class T>
struct Forward {
  Convolved<T> of;
  T* y;
  __device__ void operator()(int64_t row, int64_t c, int count) const {
    float sums[kPack] = {}, b[kPack];
    of.convolve(row, c, count, sums);
    load(of.abx + row * of.stride + of.width + c, count, b);
    for (int j = 0; j < kPack; ++j) sums[j] *= b[j];
    store(y + row * of.width + c, count, sums);
  }
};

template <class T>
struct BackwardBefore {
  Convolved<T> of;
  const T* dy;
  float* dbefore;
  __device__ void operator()(int64_t row, int64_t c, int count) const {
    const int64_t lead = of.kernel - 1;
    float du[kPack] = {};
    if (of.length > 0) of.gather(dy, row / lead * of.length, lead - row % lead, c, count, du);
    store(dbefore + row * of.width + c, count, du);
  }
};

template <class T>
struct Backward {
  Convolved<T> of;
  const T* dy;
  const float* dafter;
  T* dabx;
  int64_t dstride;
  __device__ void operator()(int64_t row, int64_t c, int count) const {
    const int64_t lead = of.kernel - 1, from_end = of.length - row % of.length;
    const T* in = of.abx + row * of.stride + c;
    T* out = dabx + row * dstride + c;
    float values[kPack] = {}, by[kPack];
    of.convolve(row, c, count, values);
    load(dy + row * of.width + c, count, by);
    for (int j = 0; j < kPack; ++j) values[j] *= by[j];
    store(out + of.width, count, values);
    float du[kPack] = {};
    if (dafter != nullptr && from_end <= lead)
      load(dafter + (row / of.length * lead + lead - from_end) * of.width + c, count, du);
    of.gather(dy, row, 0, c, count, du);
    load(in + 2 * of.width, count, by);
    for (int j = 0; j < kPack; ++j) values[j] = du[j] * by[j];
    store(out, count, values);
    load(in, count, by);
    for (int j = 0; j < kPack; ++j) values[j] = du[j] * by[j];
    store(out + 2 * of.width, count, values);
  }
};

/// A thread has a channel, and walks through `rows_a_block` rows: partials[block][channel][tap].
template <class T>
__global__ void __launch_bounds__(kThreads)
    taps_kernel(Convolved<T> of, const T* dy, int64_t rows, int64_t rows_a_block, float* partials) {
  const int64_t c = int64_t{blockIdx.y} * blockDim.x + threadIdx.x;
  if (c >= of.width) return;
  const int64_t first = blockIdx.x * rows_a_block;
  const int64_t end = first + rows_a_block < rows ? first + rows_a_block : rows;
  float sums[kMostTaps] = {};
  for (int64_t r = first; r < end; ++r) {
    const float g = widen(of.abx[r * of.stride + of.width + c]) * widen(dy[r * of.width + c]);
    const int64_t n = of.seen(r);
#pragma unroll
    for (int64_t k = 0; k < kMostTaps; ++k) {
      if (k < n) sums[k] += g * widen(of.tap(r, k)[c]);
    }
  }
  float* to = partials + (blockIdx.x * of.width + c) * of.kernel;
#pragma unroll
  for (int64_t k = 0; k < kMostTaps; ++k) {
    if (k < of.kernel) to[k] = sums[k];
  }
}

/// Rows of sequences, and what a cache has of them.
template <class T>
struct Cached {
  const T* abx;
  const float* w;
  const int32_t *tables, *sequences, *places;
  int64_t stride, width, kernel, table_width, tokens;
  T* cache;

  __device__ T* at(int64_t r, int64_t place) const {
    const int64_t block = tables[sequences[r] * table_width + place / tokens];
    return cache + (block * tokens + place % tokens) * width;
  }
};

template <class T>
struct StoreInputs {
  Cached<T> of;
  __device__ void operator()(int64_t row, int64_t c, int count) const {
    float a[kPack], x[kPack];
    load(of.abx + row * of.stride + c, count, a);
    load(of.abx + row * of.stride + 2 * of.width + c, count, x);
    for (int j = 0; j < kPack; ++j) a[j] *= x[j];
    store(of.at(row, of.places[row]) + c, count, a);
  }
};

template <class T>
struct CachedForward {
  Cached<T> of;
  T* y;
  __device__ void operator()(int64_t row, int64_t c, int count) const {
    const int64_t place = of.places[row];
    const int64_t n = place + 1 < of.kernel ? place + 1 : of.kernel;
    float sums[kPack] = {}, values[kPack];
    for (int64_t k = 0; k < n; ++k) {
      load<T>(of.at(row, place - k) + c, count, values);
      for (int j = 0; j < count; ++j) sums[j] += of.w[(c + j) * of.kernel + k] * values[j];
    }
    load(of.abx + row * of.stride + of.width + c, count, values);
    for (int j = 0; j < kPack; ++j) sums[j] *= values[j];
    store(y + row * of.width + c, count, sums);
  }
};

}  // namespace

void gated_inputs(Context& ctx, const Columns& abx, const Tensor& u) {
  with_compute_type(u.dtype(), [&]<class T>(T) {
    launch_rows(ctx, u.dim(0), u.dim(1), GatedInputs<T>{abx.data<T>(), abx.stride(), u.dim(1), u.data<T>()});
  });
}

void convolution(Context& ctx, const ConvolutionShape& s, const Tensor& u, const Tensor& before,
                 const Columns& abx, const Tensor& w, const Tensor& positions, const Tensor& y) {
  with_compute_type(u.dtype(), [&]<class T>(T) {
    launch_rows(ctx, s.rows(), s.width,
                Forward<T>{Convolved<T>(s, u, before, abx, w, positions), y.data<T>()});
  });
}

void convolution_backward_before(Context& ctx, const ConvolutionShape& s, const Tensor& dy,
                                 const Columns& abx, const Tensor& w, const Tensor& positions,
                                 const Tensor& dbefore) {
  with_compute_type(dy.dtype(), [&]<class T>(T) {
    launch_rows(ctx, s.rows_before(), s.width,
                BackwardBefore<T>{Convolved<T>(s, Tensor(), Tensor(), abx, w, positions), dy.data<T>(),
                                  dbefore.data<float>()});
  });
}

void convolution_backward(Context& ctx, const ConvolutionShape& s, const Tensor& dy, const Tensor& u,
                          const Tensor& before, const Columns& abx, const Tensor& w, const Tensor& positions,
                          const Tensor& dafter, const Columns& dabx, const Tensor& dw) {
  // Depends on the number of rows alone.
  const int64_t wanted = ceil_div(s.rows(), kMostBlocks);
  const int64_t rows_a_block = wanted > kLeastRowsABlock ? wanted : kLeastRowsABlock;
  const int64_t blocks = ceil_div(s.rows(), rows_a_block);
  const Tensor partials = Tensor::empty(ctx, {blocks, w.numel()}, DType::f32, MemoryCategory::buffers);
  with_compute_type(u.dtype(), [&]<class T>(T) {
    const Convolved<T> of(s, u, before, abx, w, positions);
    launch_rows(ctx, s.rows(), s.width,
                Backward<T>{of, dy.data<T>(), data_or_null<float>(dafter), dabx.data<T>(), dabx.stride()});
    launch(ctx, taps_kernel<T>,
           dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(ceil_div(s.width, kThreads))), kThreads,
           0, of, dy.data<T>(), s.rows(), rows_a_block, partials.data<float>());
  });
  add_column_sums_of(ctx, partials.data<float>(), blocks, w.numel(), w.numel(), dw.data<float>());
}

void paged_convolution(Context& ctx, const PagedRows& rows, const Columns& abx, const Tensor& w,
                       const Tensor& cache, const Tensor& y) {
  with_compute_type(y.dtype(), [&]<class T>(T) {
    const Cached<T> of{.abx = abx.data<T>(),
                       .w = w.data<float>(),
                       .tables = rows.block_tables.data<int32_t>(),
                       .sequences = rows.sequences.data<int32_t>(),
                       .places = rows.places.data<int32_t>(),
                       .stride = abx.stride(),
                       .width = cache.dim(2),
                       .kernel = w.dim(1),
                       .table_width = rows.block_tables.dim(1),
                       .tokens = cache.dim(1),
                       .cache = cache.data<T>()};
    launch_rows(ctx, rows.num_rows(), of.width, StoreInputs<T>{of});
    launch_rows(ctx, rows.num_rows(), of.width, CachedForward<T>{of, y.data<T>()});
  });
}

}  // namespace trireme::ops::cuda
