#include <algorithm>
#include <cmath>

#include "runtime/ops/cpu/support.h"
#include "runtime/ops/cpu/training/stochastic_rounding.h"
#include "runtime/ops/training/adamw_constants.h"

namespace trireme::ops::cpu {

namespace {

struct Constants : AdamWConstants, AdamWUpdate {
  float gradient_scale;

  explicit Constants(const AdamWOptions& o)
      : AdamWConstants(o),
        AdamWUpdate(o.update.data<double>()),
        gradient_scale(o.gradient_scale ? *o.gradient_scale.data<float>() : 1.0f) {}

  /// Else nothing is to be done.
  bool are_usable() const { return std::isfinite(gradient_scale); }
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
constexpr int64_t kPiece = StochasticRounding::kPiece;

}  // namespace

void adamw(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
           const Tensor& m, const Tensor& v, const Tensor& copy) {
  const Constants constants(options);
  if (!constants.are_usable()) return;
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

void adamw_stochastic(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
                      const Tensor& m, const Tensor& v, std::span<const ElementRange> ranges) {
  const Constants constants(options);
  if (!constants.are_usable()) return;
  const StochasticRounding rounding(ranges, constants.step);
  const auto* g = gradient.data<float>();
  auto *mean = m.data<float>(), *square = v.data<float>();
  auto* weights = w.data<bf16>();
  parallel_elements(ctx, w.numel(), [&](int64_t begin, int64_t end) {
    float wide[kPiece];
    for (int64_t i = begin; i < end; i += kPiece) {
      const int64_t n = std::min(kPiece, end - i);
      convert_range(weights + i, wide, n);
      update_range(constants, g + i, wide, mean + i, square + i, n);
      rounding.round(i, n, wide, weights + i);
    }
  });
}

}  // namespace trireme::ops::cpu
