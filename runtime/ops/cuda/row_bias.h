// What is left of a product whose inner dimension is empty.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops::cuda {

/// c[M,N] = bias[N] on every row (+ c with `accumulate`); without a bias zero. bias of c's type, or absent.
void add_bias_alone(Context& ctx, bool accumulate, const Tensor& bias, const Tensor& c);

}  // namespace trireme::ops::cuda
