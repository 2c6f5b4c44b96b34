// Both norms are one computation: RMSNorm is LayerNorm whose mean is taken as zero. A block works on a row;
// its threads read the row several times, from the first-level cache but for the first time.
#include "runtime/ops/norm.h"

#include "runtime/ops/cuda/column_sums.cuh"
#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/reduce.cuh"

namespace trireme::ops::cuda {

namespace {

constexpr int kMostThreads = 512;

template <class T>
struct Forward {
  int64_t rows, width;
  float eps;
  const float *gain, *bias;  // bias may be null
  const T *x, *residual;     // residual and sum may be null, together
  T *sum, *y;
  float *mean, *rstd;  // mean is null for RMSNorm
};

/// Calls body(column, count, row + column) for this thread's packs of a row.
template <class T, class Body>
__device__ void for_packs(const T* row, int64_t width, const Body& body) {
  for (int64_t c = int64_t{threadIdx.x} * kPack; c < width; c += int64_t{blockDim.x} * kPack) {
    body(c, pack_size(c, width), row + c);
  }
}

template <class T>
__global__ void __launch_bounds__(kMostThreads) forward_kernel(Forward<T> f) {
  auto* scratch = shared_memory<float>();
  for (int64_t n = blockIdx.x; n < f.rows; n += gridDim.x) {
    const int64_t begin = n * f.width;
    const T* in = (f.residual != nullptr ? f.sum : f.x) + begin;
    float total = 0;
    for_packs(f.x + begin, f.width, [&](int64_t c, int count, const T* x) {
      float values[kPack];
      load(x, count, values);
      if (f.residual != nullptr) {
        float other[kPack];
        load(f.residual + begin + c, count, other);
        for (int j = 0; j < kPack; ++j) values[j] = widen(narrowed<T>(values[j] + other[j]));
        store(f.sum + begin + c, count, values);
      }
      for (const float value : values) total += value;
    });
    const float mean =
        f.mean != nullptr ? block_reduce(total, Sum{}, scratch) / static_cast<float>(f.width) : 0.0f;
    float squares = 0;
    for_packs(in, f.width, [&](int64_t, int count, const T* x) {
      float values[kPack];
      load(x, count, values);
      for (int j = 0; j < count; ++j) squares += (values[j] - mean) * (values[j] - mean);
    });
    squares = block_reduce(squares, Sum{}, scratch);
    const float rstd = 1.0f / sqrtf(squares / static_cast<float>(f.width) + f.eps);
    for_packs(in, f.width, [&](int64_t c, int count, const T* x) {
      float values[kPack], gain[kPack], bias[kPack] = {};
      load(x, count, values);
      load(f.gain + c, count, gain);
      if (f.bias != nullptr) load(f.bias + c, count, bias);
      for (int j = 0; j < kPack; ++j) values[j] = (values[j] - mean) * rstd * gain[j] + bias[j];
      store(f.y + begin + c, count, values);
    });
    if (threadIdx.x == 0) {
      f.rstd[n] = rstd;
      if (f.mean != nullptr) f.mean[n] = mean;
    }
  }
}

template <class T>
struct Backward {
  int64_t rows, width;
  const float* gain;
  const T *dy, *dsum, *sum;  // dsum may be null
  const float *mean, *rstd;  // mean is null for RMSNorm
  T* dx;
};

/// The formula of the CPU body. A block walks through `rows_a_block` rows; its sums for dgain and, if
/// `with_bias`, dbias stay in shared memory, each column with one thread, and end up in partials[block].
template <class T>
__global__ void __launch_bounds__(kMostThreads)
    backward_kernel(Backward<T> b, int64_t rows_a_block, bool with_bias, float* partials) {
  auto* scratch = shared_memory<float>();
  float *dgain = scratch + kMostThreads / kWarp, *dbias = dgain + b.width;
  const int64_t partial_width = with_bias ? 2 * b.width : b.width;
  for_packs(dgain, b.width, [&](int64_t c, int count, const float*) {
    for (int j = 0; j < count; ++j) {
      dgain[c + j] = 0;
      if (with_bias) dbias[c + j] = 0;
    }
  });
  const int64_t first = blockIdx.x * rows_a_block;
  const int64_t end = first + rows_a_block < b.rows ? first + rows_a_block : b.rows;
  for (int64_t n = first; n < end; ++n) {
    const int64_t begin = n * b.width;
    const float mean = b.mean != nullptr ? b.mean[n] : 0.0f, rstd = b.rstd[n];
    float mean_d = 0, mean_dh = 0;
    for_packs(b.sum + begin, b.width, [&](int64_t c, int count, const T* in) {
      float x[kPack], dy[kPack], gain[kPack];
      load(in, count, x);
      load(b.dy + begin + c, count, dy);
      load(b.gain + c, count, gain);
      for (int j = 0; j < count; ++j) {
        const float h = (x[j] - mean) * rstd;
        mean_d += dy[j] * gain[j];
        mean_dh += dy[j] * gain[j] * h;
        dgain[c + j] += dy[j] * h;
        if (with_bias) dbias[c + j] += dy[j];
      }
    });
    const auto width = static_cast<float>(b.width);
    mean_d = b.mean != nullptr ? block_reduce(mean_d, Sum{}, scratch) / width : 0.0f;
    mean_dh = block_reduce(mean_dh, Sum{}, scratch) / width;
    for_packs(b.sum + begin, b.width, [&](int64_t c, int count, const T* in) {
      float x[kPack], dy[kPack], gain[kPack], dsum[kPack] = {};
      load(in, count, x);
      load(b.dy + begin + c, count, dy);
      load(b.gain + c, count, gain);
      if (b.dsum != nullptr) load(b.dsum + begin + c, count, dsum);
      for (int j = 0; j < kPack; ++j) {
        const float h = (x[j] - mean) * rstd;
        x[j] = rstd * (dy[j] * gain[j] - mean_d - h * mean_dh) + dsum[j];
      }
      store(b.dx + begin + c, count, x);
    });
  }
  for_packs(dgain, b.width, [&](int64_t c, int count, const float*) {
    for (int j = 0; j < count; ++j) {
      float* partial = partials + blockIdx.x * partial_width + c + j;
      partial[0] = dgain[c + j];
      if (with_bias) partial[b.width] = dbias[c + j];
    }
  });
}

unsigned threads_of(int64_t width) { return row_threads(ceil_div(width, kPack), kMostThreads); }

template <class T>
void run_forward(Context& ctx, const Forward<T>& f) {
  launch(ctx, forward_kernel<T>, num_blocks(f.rows), threads_of(f.width),
         kMostThreads / kWarp * sizeof(float), f);
}

template <class T>
void run_backward(Context& ctx, const Backward<T>& b, const Tensor& dgain, const Tensor& dbias) {
  // Depends on the number of rows alone; at most 512 blocks.
  const int64_t rows_a_block = ceil_div(b.rows, 512) > 8 ? ceil_div(b.rows, 512) : 8;
  const int64_t blocks = ceil_div(b.rows, rows_a_block), partial_width = (dbias ? 2 : 1) * b.width;
  if (blocks == 0) return;
  const Tensor partials = Tensor::empty(ctx, {blocks, partial_width}, DType::f32, MemoryCategory::buffers);
  const auto shared = static_cast<size_t>(kMostThreads / kWarp + partial_width) * sizeof(float);
  launch(ctx, backward_kernel<T>, static_cast<unsigned>(blocks), threads_of(b.width), shared, b, rows_a_block,
         static_cast<bool>(dbias), partials.data<float>());
  add_column_sums_of(ctx, partials.data<float>(), blocks, b.width, partial_width, dgain.data<float>());
  if (dbias) {
    add_column_sums_of(ctx, partials.data<float>() + b.width, blocks, b.width, partial_width,
                       dbias.data<float>());
  }
}

}  // namespace

void layer_norm(Context& ctx, const Tensor& x, const Tensor& residual, const Tensor& gain, const Tensor& bias,
                float eps, const Tensor& sum, const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    run_forward<T>(ctx, {x.dim(0), x.dim(1), eps, gain.data<float>(), data_or_null<float>(bias), x.data<T>(),
                         data_or_null<T>(residual), data_or_null<T>(sum), y.data<T>(), mean.data<float>(),
                         rstd.data<float>()});
  });
}

void layer_norm_backward(Context& ctx, const Tensor& dy, const Tensor& dsum, const Tensor& sum,
                         const Tensor& gain, const Tensor& mean, const Tensor& rstd, const Tensor& dx,
                         const Tensor& dgain, const Tensor& dbias) {
  with_compute_type(dy.dtype(), [&]<class T>(T) {
    run_backward<T>(ctx,
                    {dy.dim(0), dy.dim(1), gain.data<float>(), dy.data<T>(), data_or_null<T>(dsum),
                     sum.data<T>(), mean.data<float>(), rstd.data<float>(), dx.data<T>()},
                    dgain, dbias);
  });
}

void rms_norm(Context& ctx, const Tensor& x, const Tensor& residual, const Tensor& gain, float eps,
              const Tensor& sum, const Tensor& y, const Tensor& rstd) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    run_forward<T>(
        ctx, {x.dim(0), x.dim(1), eps, gain.data<float>(), nullptr, x.data<T>(), data_or_null<T>(residual),
              data_or_null<T>(sum), y.data<T>(), nullptr, rstd.data<float>()});
  });
}

void rms_norm_backward(Context& ctx, const Tensor& dy, const Tensor& dsum, const Tensor& sum,
                       const Tensor& gain, const Tensor& rstd, const Tensor& dx, const Tensor& dgain) {
  with_compute_type(dy.dtype(), [&]<class T>(T) {
    run_backward<T>(ctx,
                    {dy.dim(0), dy.dim(1), gain.data<float>(), dy.data<T>(), data_or_null<T>(dsum),
                     sum.data<T>(), nullptr, rstd.data<float>(), dx.data<T>()},
                    dgain, {});
  });
}

}  // namespace trireme::ops::cuda
