#include "runtime/ops/shared_norm.h"

#include "runtime/ops/cpu/support.h"
#include "runtime/ops/scratch_sizes.h"

namespace trireme::ops::cpu {

namespace {

template <class T>
TRIREME_INLINE float squares_loop(const T* x, int64_t n) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < n; ++i) squares += static_cast<float>(x[i]) * static_cast<float>(x[i]);
  return squares;
}

template <class T>
TRIREME_INLINE void normed_loop(const T* x, const float* gain, float rstd, T* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) store(y + i, static_cast<float>(x[i]) * rstd * gain[i]);
}

/// With h = x * rstd: the sum of dy gain h; dgain += dy h.
template <class T>
TRIREME_INLINE float sums_loop(const T* dy, const T* x, const float* gain, float rstd, float* dgain,
                               int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) {
    const float g = dy[i], h = static_cast<float>(x[i]) * rstd;
    sum += g * gain[i] * h;
    dgain[i] += g * h;
  }
  return sum;
}

/// dx = rstd * (dy gain - h mean). dx may be dy.
template <class T>
TRIREME_INLINE void gradient_loop(const T* dy, const T* x, const float* gain, float rstd, float mean, T* dx,
                                  int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float h = static_cast<float>(x[i]) * rstd;
    store(dx + i, rstd * (static_cast<float>(dy[i]) * gain[i] - h * mean));
  }
}

#define TRIREME_DEFINE_KERNELS(T)                                                                          \
  TRIREME_VECTORIZED float squares_of(const T* x, int64_t n) { return squares_loop(x, n); }                \
  TRIREME_VECTORIZED void normed_row(const T* x, const float* gain, float rstd, T* y, int64_t n) {         \
    normed_loop(x, gain, rstd, y, n);                                                                      \
  }                                                                                                        \
  TRIREME_VECTORIZED float sums_of(const T* dy, const T* x, const float* gain, float rstd, float* dgain,   \
                                   int64_t n) {                                                            \
    return sums_loop(dy, x, gain, rstd, dgain, n);                                                         \
  }                                                                                                        \
  TRIREME_VECTORIZED void gradient_row(const T* dy, const T* x, const float* gain, float rstd, float mean, \
                                       T* dx, int64_t n) {                                                 \
    gradient_loop(dy, x, gain, rstd, mean, dx, n);                                                         \
  }
TRIREME_EACH_COMPUTE_TYPE(TRIREME_DEFINE_KERNELS)

/// row(type, r) for each row of x.
template <class Row>
void for_shared_rows(Context& ctx, const Columns& x, const Row& row) {
  with_compute_type(x.dtype(), [&]<class T>(T type) {
    parallel_for(ctx.num_threads(), x.rows(), row_grain(x.count), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) row(type, r);
    });
  });
}

}  // namespace

void shared_norm_squares(Context& ctx, const Columns& x, const Columns& squares) {
  for_shared_rows(ctx, x,
                  [&]<class T>(T, int64_t r) { *squares.row<float>(r) = squares_of(x.row<T>(r), x.count); });
}

void shared_norm(Context& ctx, const Columns& x, const Columns& squares, int64_t width, const Tensor& gain,
                 float eps, const Columns& y, const Columns& rstd) {
  for_shared_rows(ctx, x, [&]<class T>(T, int64_t r) {
    const float scale = 1.0f / std::sqrt(*squares.row<float>(r) / static_cast<float>(width) + eps);
    normed_row(x.row<T>(r), gain.data<float>(), scale, y.row<T>(r), x.count);
    *rstd.row<float>(r) = scale;
  });
}

void shared_norm_backward_sums(Context& ctx, const Columns& dy, const Columns& x, const Tensor& gain,
                               const Columns& rstd, const Columns& sums, const Tensor& dgain) {
  const int64_t rows = x.rows(), width = x.count;
  const int64_t block = norm_rows_per_block(rows), num_blocks = (rows + block - 1) / block;
  const Tensor partials = Tensor::empty(ctx, {num_blocks, width}, DType::f32, MemoryCategory::buffers);
  with_compute_type(x.dtype(), [&]<class T>(T) {
    const int64_t grain = std::max<int64_t>(1, row_grain(width) / block);
    parallel_for(ctx.num_threads(), num_blocks, grain, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        float* of_block = partials.data<float>() + b * width;
        std::fill_n(of_block, width, 0.0f);
        for (int64_t r = b * block; r < std::min(rows, (b + 1) * block); ++r) {
          *sums.row<float>(r) =
              sums_of(dy.row<T>(r), x.row<T>(r), gain.data<float>(), *rstd.row<float>(r), of_block, width);
        }
      }
    });
  });
  for (int64_t b = 0; b < num_blocks; ++b)
    accumulate_range(partials.data<float>() + b * width, dgain.data<float>(), width);
}

void shared_norm_backward(Context& ctx, const Columns& dy, const Columns& x, const Tensor& gain,
                          const Columns& rstd, const Columns& sums, int64_t width, const Columns& dx) {
  for_shared_rows(ctx, x, [&]<class T>(T, int64_t r) {
    gradient_row(dy.row<T>(r), x.row<T>(r), gain.data<float>(), *rstd.row<float>(r),
                 *sums.row<float>(r) / static_cast<float>(width), dx.row<T>(r), x.count);
  });
}

}  // namespace trireme::ops::cpu
