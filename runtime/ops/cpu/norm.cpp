// Both norms are one computation: RMSNorm is LayerNorm whose mean is taken as zero.
#include "runtime/ops/norm.h"

#include "runtime/ops/cpu/support.h"
#include "runtime/ops/scratch_sizes.h"

namespace trireme::ops::cpu {

namespace {

template <class T>
struct Forward {
  int64_t width;
  float eps;
  const float *gain, *bias;  // bias may be null
  const T *x, *residual;     // residual and sum may be null, together
  T *sum, *y;
  float *mean, *rstd;  // mean is null for RMSNorm
};

template <class T>
TRIREME_INLINE void forward_row(const Forward<T>& f, int64_t n) {
  const int64_t width = f.width, begin = n * width;
  const float *gain = f.gain, *bias = f.bias;
  const T* in = f.x + begin;
  if (f.residual != nullptr) {
    const T *x = in, *residual = f.residual + begin;
    T* sum = f.sum + begin;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) {
      store(sum + i, static_cast<float>(x[i]) + static_cast<float>(residual[i]));
    }
    in = sum;
  }
  float mean = 0;
  if (f.mean != nullptr) {
    mean = sum_in_lanes(
        width, [&](int64_t i) __attribute__((always_inline)) { return static_cast<float>(in[i]); });
    mean /= static_cast<float>(width);
    f.mean[n] = mean;
  }
  const float squares = sum_in_lanes(
      width, [&](int64_t i) __attribute__((always_inline)) {
        const float centred = static_cast<float>(in[i]) - mean;
        return centred * centred;
      });
  const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(width) + f.eps);
  f.rstd[n] = rstd;
  T* y = f.y + begin;
  if (bias != nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) {
      store(y + i, (static_cast<float>(in[i]) - mean) * rstd * gain[i] + bias[i]);
    }
  } else {
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) store(y + i, (static_cast<float>(in[i]) - mean) * rstd * gain[i]);
  }
}

template <class T>
struct Backward {
  int64_t width;
  const float* gain;
  const T *dy, *dsum, *sum;  // dsum may be null
  const float *mean, *rstd;  // mean is null for RMSNorm
  T* dx;
};

/// With h = (sum - mean) * rstd and d = dy * gain: dx = rstd * (d - mean(d) - h * mean(d h)) + dsum, where
/// mean(d) falls away for RMSNorm. dgain += dy h, dbias += dy.
template <class T>
TRIREME_INLINE void backward_row(const Backward<T>& b, int64_t n, float* dgain, float* dbias) {
  const int64_t width = b.width, begin = n * width;
  const T *dy = b.dy + begin, *in = b.sum + begin;
  const float* gain = b.gain;
  const float mean = b.mean != nullptr ? b.mean[n] : 0.0f, rstd = b.rstd[n];
  float mean_d = 0, mean_dh = 0;
#pragma omp simd reduction(+ : mean_d, mean_dh)
  for (int64_t i = 0; i < width; ++i) {
    const float g = dy[i], h = (static_cast<float>(in[i]) - mean) * rstd;
    mean_d += g * gain[i];
    mean_dh += g * gain[i] * h;
    dgain[i] += g * h;
  }
  mean_d = b.mean != nullptr ? mean_d / static_cast<float>(width) : 0.0f;
  mean_dh /= static_cast<float>(width);
  if (dbias != nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) dbias[i] += static_cast<float>(dy[i]);
  }
  T* dx = b.dx + begin;
  if (b.dsum != nullptr) {
    const T* dsum = b.dsum + begin;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) {
      const float h = (static_cast<float>(in[i]) - mean) * rstd;
      store(dx + i, rstd * (static_cast<float>(dy[i]) * gain[i] - mean_d - h * mean_dh) +
                        static_cast<float>(dsum[i]));
    }
  } else {
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) {
      const float h = (static_cast<float>(in[i]) - mean) * rstd;
      store(dx + i, rstd * (static_cast<float>(dy[i]) * gain[i] - mean_d - h * mean_dh));
    }
  }
}

#define TRIREME_DEFINE_KERNELS(T)                                                                       \
  TRIREME_VECTORIZED void forward_rows(const Forward<T>& f, int64_t begin, int64_t end) {               \
    for (int64_t n = begin; n < end; ++n) forward_row(f, n);                                            \
  }                                                                                                     \
  TRIREME_VECTORIZED void backward_rows(const Backward<T>& b, int64_t begin, int64_t end, float* dgain, \
                                        float* dbias) {                                                 \
    for (int64_t n = begin; n < end; ++n) backward_row(b, n, dgain, dbias);                             \
  }
TRIREME_EACH_COMPUTE_TYPE(TRIREME_DEFINE_KERNELS)

template <class T>
void run_forward(Context& ctx, int64_t rows, const Forward<T>& f) {
  parallel_for(ctx.num_threads(), rows, row_grain(f.width),
               [&](int64_t begin, int64_t end) { forward_rows(f, begin, end); });
}

template <class T>
void run_backward(Context& ctx, int64_t rows, const Backward<T>& b, const Tensor& dgain,
                  const Tensor& dbias) {
  const int64_t width = b.width, block = norm_rows_per_block(rows), num_blocks = (rows + block - 1) / block;
  const int64_t partial_width = dbias ? 2 * width : width;
  const Tensor partials =
      Tensor::empty(ctx, {num_blocks, partial_width}, DType::f32, MemoryCategory::buffers);
  auto* partial = partials.data<float>();
  parallel_for(ctx.num_threads(), num_blocks, std::max<int64_t>(1, row_grain(width) / block),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   float* sums = partial + i * partial_width;
                   std::fill(sums, sums + partial_width, 0.0f);
                   backward_rows(b, i * block, std::min(rows, (i + 1) * block), sums,
                                 dbias ? sums + width : nullptr);
                 }
               });
  auto *gain_out = dgain.data<float>(), *bias_out = data_or_null<float>(dbias);
  parallel_for(ctx.num_threads(), width, row_grain(num_blocks), [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < num_blocks; ++i) {
      const float* sums = partial + i * partial_width;
      accumulate_range(sums + begin, gain_out + begin, end - begin);
      if (bias_out != nullptr) accumulate_range(sums + width + begin, bias_out + begin, end - begin);
    }
  });
}

}  // namespace

void layer_norm(Context& ctx, const Tensor& x, const Tensor& residual, const Tensor& gain, const Tensor& bias,
                float eps, const Tensor& sum, const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    run_forward<T>(
        ctx, x.dim(0),
        {x.dim(1), eps, gain.data<float>(), data_or_null<float>(bias), x.data<T>(), data_or_null<T>(residual),
         data_or_null<T>(sum), y.data<T>(), mean.data<float>(), rstd.data<float>()});
  });
}

void layer_norm_backward(Context& ctx, const Tensor& dy, const Tensor& dsum, const Tensor& sum,
                         const Tensor& gain, const Tensor& mean, const Tensor& rstd, const Tensor& dx,
                         const Tensor& dgain, const Tensor& dbias) {
  with_compute_type(dy.dtype(), [&]<class T>(T) {
    run_backward<T>(ctx, dy.dim(0),
                    {dy.dim(1), gain.data<float>(), dy.data<T>(), data_or_null<T>(dsum), sum.data<T>(),
                     mean.data<float>(), rstd.data<float>(), dx.data<T>()},
                    dgain, dbias);
  });
}

void rms_norm(Context& ctx, const Tensor& x, const Tensor& residual, const Tensor& gain, float eps,
              const Tensor& sum, const Tensor& y, const Tensor& rstd) {
  with_compute_type(x.dtype(), [&]<class T>(T) {
    run_forward<T>(ctx, x.dim(0),
                   {x.dim(1), eps, gain.data<float>(), nullptr, x.data<T>(), data_or_null<T>(residual),
                    data_or_null<T>(sum), y.data<T>(), nullptr, rstd.data<float>()});
  });
}

void rms_norm_backward(Context& ctx, const Tensor& dy, const Tensor& dsum, const Tensor& sum,
                       const Tensor& gain, const Tensor& rstd, const Tensor& dx, const Tensor& dgain) {
  with_compute_type(dy.dtype(), [&]<class T>(T) {
    run_backward<T>(ctx, dy.dim(0),
                    {dy.dim(1), gain.data<float>(), dy.data<T>(), data_or_null<T>(dsum), sum.data<T>(),
                     nullptr, rstd.data<float>(), dx.data<T>()},
                    dgain, {});
  });
}

}  // namespace trireme::ops::cpu
