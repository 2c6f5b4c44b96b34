#include "runtime/ops/head_norm.h"

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

/// Normalises a head of n elements and returns rstd. y may be x.
template <class T>
TRIREME_INLINE float forward_of(const T* x, const float* gain, int64_t n, float eps, T* y) {
  const float squares = sum_in_lanes(
      n, [&](int64_t i)
             __attribute__((always_inline)) { return static_cast<float>(x[i]) * static_cast<float>(x[i]); });
  const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(n) + eps);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) store(y + i, static_cast<float>(x[i]) * rstd * gain[i]);
  return rstd;
}

/// With h = x * rstd: dx = rstd * (dy * gain - h * mean(dy gain h)), dgain += dy h. dx may be dy.
template <class T>
TRIREME_INLINE void backward_of(const T* dy, const T* x, const float* gain, int64_t n, float rstd, T* dx,
                                float* dgain) {
  float mean = 0;
#pragma omp simd reduction(+ : mean)
  for (int64_t i = 0; i < n; ++i) {
    const float g = dy[i], h = static_cast<float>(x[i]) * rstd;
    mean += g * gain[i] * h;
    dgain[i] += g * h;
  }
  mean /= static_cast<float>(n);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float h = static_cast<float>(x[i]) * rstd;
    store(dx + i, rstd * (static_cast<float>(dy[i]) * gain[i] - h * mean));
  }
}

#define TRIREME_DEFINE_KERNELS(T)                                                                          \
  TRIREME_VECTORIZED float forward_head(const T* x, const float* gain, int64_t n, float eps, T* y) {       \
    return forward_of(x, gain, n, eps, y);                                                                 \
  }                                                                                                        \
  TRIREME_VECTORIZED void backward_head(const T* dy, const T* x, const float* gain, int64_t n, float rstd, \
                                        T* dx, float* dgain) {                                             \
    backward_of(dy, x, gain, n, rstd, dx, dgain);                                                          \
  }
TRIREME_EACH_COMPUTE_TYPE(TRIREME_DEFINE_KERNELS)

/// Rows whose shares of dgain are summed one after the other; the blocks' sums are then added in order. It
/// depends on the number of rows alone, and there are at most 256 blocks.
int64_t rows_a_block(int64_t rows) { return std::max<int64_t>(32, (rows + 255) / 256); }

}  // namespace

void rms_norm_heads(Context& ctx, const Columns& x, const Tensor& gain, float eps, const Columns& y,
                    const Tensor& rstd) {
  const int64_t dim = gain.numel(), heads = x.count / dim;
  with_compute_type(x.dtype(), [&]<class T>(T) {
    parallel_for(ctx.num_threads(), x.rows(), row_grain(x.count), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t h = 0; h < heads; ++h) {
          rstd.data<float>()[r * heads + h] =
              forward_head(x.row<T>(r) + h * dim, gain.data<float>(), dim, eps, y.row<T>(r) + h * dim);
        }
      }
    });
  });
}

void rms_norm_heads_backward(Context& ctx, const Columns& dy, const Columns& x, const Tensor& gain,
                             const Tensor& rstd, const Columns& dx, const Tensor& dgain) {
  const int64_t dim = gain.numel(), heads = x.count / dim, rows = x.rows();
  const int64_t block = rows_a_block(rows), num_blocks = (rows + block - 1) / block;
  const Tensor partials = Tensor::empty(ctx, {num_blocks, dim}, DType::f32, MemoryCategory::buffers);
  const auto add_row = [&]<class T>(T, int64_t r, float* sums) {
    for (int64_t h = 0; h < heads; ++h) {
      backward_head(dy.row<T>(r) + h * dim, x.row<T>(r) + h * dim, gain.data<float>(), dim,
                    rstd.data<float>()[r * heads + h], dx.row<T>(r) + h * dim, sums);
    }
  };
  with_compute_type(x.dtype(), [&]<class T>(T type) {
    const int64_t grain = std::max<int64_t>(1, row_grain(x.count) / block);
    parallel_for(ctx.num_threads(), num_blocks, grain, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        float* sums = partials.data<float>() + b * dim;
        std::fill_n(sums, dim, 0.0f);
        for (int64_t r = b * block; r < std::min(rows, (b + 1) * block); ++r) add_row(type, r, sums);
      }
    });
  });
  for (int64_t b = 0; b < num_blocks; ++b) {
    accumulate_range(partials.data<float>() + b * dim, dgain.data<float>(), dim);
  }
}

}  // namespace trireme::ops::cpu
