// What an update of AdamW multiplies by, the same on every device.
#pragma once

#include <cmath>

#include "runtime/ops/adamw.h"

namespace trireme::ops {

struct AdamWConstants {
  float lr, beta1, rest1, beta2, rest2, correction1, correction2, eps, weight_decay;

  explicit AdamWConstants(const AdamWOptions& o)
      : lr(o.lr),
        beta1(o.beta1),
        rest1(1.0f - o.beta1),
        beta2(o.beta2),
        rest2(1.0f - o.beta2),
        correction1(correction(o.beta1, o.step)),
        correction2(correction(o.beta2, o.step)),
        eps(o.eps),
        weight_decay(o.weight_decay) {}

 private:
  /// 1 / (1 - beta^step)
  static float correction(double beta, int64_t step) {
    return static_cast<float>(1.0 / (1.0 - std::pow(beta, static_cast<double>(step))));
  }
};

}  // namespace trireme::ops
