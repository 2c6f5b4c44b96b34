// Biases of products.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops::cuda {

/// The bias in the type of the result, as epilogues want it; absent where it is absent.
Tensor in_type(Context& ctx, const Tensor& bias, DType dtype);

/// What is left of a product whose inner dim is empty: c[M,N] = bias[N] on every row (+ c with `accumulate`);
/// without a bias zero. bias of c's type, or absent.
void add_bias_alone(Context& ctx, bool accumulate, const Tensor& bias, const Columns& c);

}  // namespace trireme::ops::cuda
