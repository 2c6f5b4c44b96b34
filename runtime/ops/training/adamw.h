// AdamW (Loshchilov & Hutter, arXiv 1711.05101).
#pragma once

#include <span>
#include <vector>

#include "runtime/ops/training/stochastic_rounding.h"

namespace trireme::ops {

struct AdamWOptions {
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float eps = 1e-8f;
  float weight_decay = 0;
  /// [kAdamWUpdateSize] f64: the values of adamw_update(), which are others at each update. They lie on the
  /// device, so that a captured step finds those of its time.
  Tensor update = {};
  /// [1] f32, what the gradient is multiplied by first (1 / tokens, clipping): it lies on the device, so that
  /// nobody waits for it. Absent: 1. One that is not finite leaves everything as it was.
  Tensor gradient_scale = {};
};

inline constexpr int64_t kAdamWUpdateSize = 4;
/// Of update number `step`, counted from 1: lr, the bias corrections 1 / (1 - beta^step), and step.
std::vector<double> adamw_update(const AdamWOptions& options, double lr, int64_t step);

/// m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w = w - lr * (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) +
/// eps) + wd * w). w, m, v, gradient: f32, as many elements each. copy (compute type, may be absent) receives
/// the rounded new weights.
void adamw(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
           const Tensor& m, const Tensor& v, const Tensor& copy);
TRIREME_OP_BODIES(adamw, Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
                  const Tensor& m, const Tensor& v, const Tensor& copy)

/// The same update of weights that are kept in bf16 alone: computed in fp32 and rounded as
/// round_stochastically() does, with the random bits of update number `step`. w: bf16; m, v, gradient: f32.
void adamw_stochastic(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
                      const Tensor& m, const Tensor& v, std::span<const ElementRange> ranges);
TRIREME_OP_BODIES(adamw_stochastic, Context& ctx, const AdamWOptions& options, const Tensor& gradient,
                  const Tensor& w, const Tensor& m, const Tensor& v, std::span<const ElementRange> ranges)

}  // namespace trireme::ops
