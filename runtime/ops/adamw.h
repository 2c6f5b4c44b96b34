// AdamW (Loshchilov & Hutter, arXiv 1711.05101).
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

struct AdamWOptions {
  float lr = 0;
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float eps = 1e-8f;
  float weight_decay = 0;
  int64_t step = 1;          ///< number of this update, from 1: the bias corrections are 1 - beta^step
  float gradient_scale = 1;  ///< the gradient is multiplied by this first (1 / tokens, clipping)
};

/// m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w = w - lr * (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) +
/// eps) + wd * w). w, m, v, gradient: f32, as many elements each. copy (compute type, may be absent) receives
/// the rounded new weights.
void adamw(Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
           const Tensor& m, const Tensor& v, const Tensor& copy);
TRIREME_OP_BODIES(adamw, Context& ctx, const AdamWOptions& options, const Tensor& gradient, const Tensor& w,
                  const Tensor& m, const Tensor& v, const Tensor& copy)

}  // namespace trireme::ops
