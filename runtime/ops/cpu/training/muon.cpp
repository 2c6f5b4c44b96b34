#include "runtime/ops/training/muon.h"

#include <algorithm>
#include <cmath>

#include "runtime/ops/cpu/support.h"
#include "runtime/ops/training/muon_constants.h"

namespace trireme::ops::cpu {

namespace {

/// Elements that stay in the first-level cache between conversions.
constexpr int64_t kMuonPiece = 1024;

TRIREME_VECTORIZED void momentum_range(const MuonConstants& constants, float scale, const float* gradient,
                                       float* m, float* direction, int64_t n) {
  const MuonConstants c = constants;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] * scale;
    const float mean = c.momentum * m[i] + c.rest * g;
    m[i] = mean;
    direction[i] = c.blend * mean + c.blend_rest * g;
  }
}

TRIREME_VECTORIZED void normalize_range(const float* x, float factor, float* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] * factor;
}

TRIREME_VECTORIZED void apply_range(const float* orthogonal, float lr, float scale, float decay, float* w,
                                    int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) w[i] -= lr * (scale * orthogonal[i] + decay * w[i]);
}

/// Calls body(i, n) for pieces of [0, numel).
template <class Body>
void for_each_piece(Context& ctx, int64_t numel, const Body& body) {
  parallel_elements(ctx, numel, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kMuonPiece) body(i, std::min(kMuonPiece, end - i));
  });
}

}  // namespace

void muon_momentum(Context& ctx, const MuonOptions& options, const Tensor& gradient, const Tensor& m,
                   const Tensor& direction) {
  const float scale = *options.gradient_scale.data<float>();
  auto* out = data_or_null<float>(direction);
  if (!std::isfinite(scale)) {
    if (out != nullptr) std::fill(out, out + direction.numel(), 0.0f);
    return;
  }
  const MuonConstants constants(options);
  const auto* g = gradient.data<float>();
  auto* mean = m.data<float>();
  for_each_piece(ctx, m.numel(), [&](int64_t i, int64_t n) {
    float unused[kMuonPiece];
    momentum_range(constants, scale, g + i, mean + i, out != nullptr ? out + i : unused, n);
  });
}

void muon_normalize(Context& ctx, const Tensor& x, const Tensor& squares, const Tensor& y) {
  const float factor = muon_factor(*squares.data<double>());
  const auto* in = x.data<float>();
  with_compute_type(y.dtype(), [&]<class T>(T) {
    auto* out = y.data<T>();
    for_each_piece(ctx, x.numel(), [&](int64_t i, int64_t n) {
      float wide[kMuonPiece];
      normalize_range(in + i, factor, wide, n);
      convert_range(wide, out + i, n);
    });
  });
}

void muon_apply(Context& ctx, const MuonOptions& options, const Tensor& orthogonal, const Tensor& w,
                const Tensor& copy) {
  if (!std::isfinite(*options.gradient_scale.data<float>())) return;
  const auto lr = static_cast<float>(options.update.data<double>()[0]);
  auto* weights = w.data<float>();
  with_compute_type(orthogonal.dtype(), [&]<class In>(In) {
    with_compute_type(copy ? copy.dtype() : DType::f32, [&]<class Out>(Out) {
      const auto* in = orthogonal.data<In>();
      auto* rounded = data_or_null<Out>(copy);
      for_each_piece(ctx, w.numel(), [&](int64_t i, int64_t n) {
        float wide[kMuonPiece];
        convert_range(in + i, wide, n);
        apply_range(wide, lr, options.scale, options.weight_decay, weights + i, n);
        if (rounded != nullptr) convert_range(weights + i, rounded + i, n);
      });
    });
  });
}

}  // namespace trireme::ops::cpu
