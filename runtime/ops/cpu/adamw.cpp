#include "runtime/ops/adamw.h"

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

struct Constants {
  float lr, beta1, rest1, beta2, rest2, correction1, correction2, eps, weight_decay, gradient_scale;

  explicit Constants(const AdamWOptions& o)
      : lr(o.lr),
        beta1(o.beta1),
        rest1(1.0f - o.beta1),
        beta2(o.beta2),
        rest2(1.0f - o.beta2),
        correction1(static_cast<float>(1.0 / (1.0 - std::pow(double{o.beta1}, static_cast<double>(o.step))))),
        correction2(static_cast<float>(1.0 / (1.0 - std::pow(double{o.beta2}, static_cast<double>(o.step))))),
        eps(o.eps),
        weight_decay(o.weight_decay),
        gradient_scale(o.gradient_scale) {}
};

TRIREME_VECTORIZED void update_range(const Constants& constants, const float* gradient, float* w, float* m,
                                     float* v, int64_t n) {
  const Constants c = constants;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] * c.gradient_scale;
    const float mean = c.beta1 * m[i] + c.rest1 * g;
    const float square = c.beta2 * v[i] + c.rest2 * g * g;
    m[i] = mean;
    v[i] = square;
    w[i] -=
        c.lr * (mean * c.correction1 / (std::sqrt(square * c.correction2) + c.eps) + c.weight_decay * w[i]);
  }
}

/// The copy is made from weights that are still in the first-level cache.
constexpr int64_t kPiece = 1024;

}  // namespace

void adamw(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
           const Tensor& m, const Tensor& v, const Tensor& copy) {
  const Constants constants(options);
  const auto* g = gradient.data<float>();
  auto *weights = w.data<float>(), *mean = m.data<float>(), *square = v.data<float>();
  with_compute_type(copy ? copy.dtype() : DType::f32, [&]<class T>(T) {
    T* rounded = data_or_null<T>(copy);
    parallel_elements(ctx, w.numel(), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i += kPiece) {
        const int64_t n = std::min(kPiece, end - i);
        update_range(constants, g + i, weights + i, mean + i, square + i, n);
        if (rounded != nullptr) convert_range(weights + i, rounded + i, n);
      }
    });
  });
}

}  // namespace trireme::ops::cpu
