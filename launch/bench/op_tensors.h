// Input tensors of op benchmarks.
#pragma once

#include <vector>

#include "runtime/ops/elementwise.h"
#include "runtime/ops/random.h"

namespace trireme::launch::op_tensors {

/// Normal numbers.
inline Tensor random(Context& ctx, const Shape& shape, DType dtype, uint64_t seed) {
  const Tensor wide = Tensor::empty(ctx, shape, DType::f32);
  ops::fill_normal(ctx, wide, seed, "bench", shape, Shape(std::vector<int64_t>(shape.dims().size(), 0)), 0,
                   1);
  if (dtype == DType::f32) return wide;
  const Tensor t = Tensor::empty(ctx, shape, dtype);
  ops::copy(ctx, wide, t);
  return t;
}

/// Memory that has been touched: the first touch of a page costs more than an op.
inline Tensor zeros(Context& ctx, const Shape& shape, DType dtype) {
  const Tensor t = Tensor::empty(ctx, shape, dtype);
  ops::fill(ctx, t, 0);
  return t;
}

}  // namespace trireme::launch::op_tensors
