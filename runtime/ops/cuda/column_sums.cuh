// Sums over the rows of a matrix, also for other bodies.
#pragma once

#include "runtime/ops/cuda/launch.cuh"

namespace trireme::ops::cuda {

/// out[c] += the sum over rows of x[row * stride + c], c < columns, in an order that depends on the number of
/// rows alone. T: float, bf16 or fp16.
template <class T>
void add_column_sums_of(Context& ctx, const T* x, int64_t rows, int64_t columns, int64_t stride, float* out);

}  // namespace trireme::ops::cuda
