// What AdamW multiplies by, the same on every device.
#pragma once

#include "runtime/ops/training/adamw.h"

namespace trireme::ops {

/// Of all updates.
struct AdamWConstants {
  float beta1, rest1, beta2, rest2, eps, weight_decay;

  explicit AdamWConstants(const AdamWOptions& o)
      : beta1(o.beta1),
        rest1(1.0f - o.beta1),
        beta2(o.beta2),
        rest2(1.0f - o.beta2),
        eps(o.eps),
        weight_decay(o.weight_decay) {}
};

/// Of one update, as AdamWOptions::update has them.
struct AdamWUpdate {
  float lr, correction1, correction2;
  uint64_t step;

  explicit constexpr AdamWUpdate(const double* values)
      : lr(static_cast<float>(values[0])),
        correction1(static_cast<float>(values[1])),
        correction2(static_cast<float>(values[2])),
        step(static_cast<uint64_t>(values[3])) {}
};

}  // namespace trireme::ops
