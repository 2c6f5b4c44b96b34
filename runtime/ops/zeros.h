// Memory that begins with zeros.
#pragma once

#include "runtime/ops/elementwise.h"

namespace trireme::ops {

inline Tensor zeros(Context& ctx, const Shape& shape, DType dtype, MemoryCategory category) {
  const Tensor t = Tensor::empty(ctx, shape, dtype, category);
  fill(ctx, t, 0);
  return t;
}

}  // namespace trireme::ops
