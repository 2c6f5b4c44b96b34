// Small tensors between the device and the host's vectors.
#pragma once

#include <vector>

#include "runtime/ops/elementwise.h"

namespace trireme::ops {

/// The elements of t, once the stream has come to them. T is the tensor's type.
template <class T>
std::vector<T> to_host(Context& ctx, const Tensor& t) {
  std::vector<T> values(static_cast<size_t>(t.numel()));
  if (values.empty()) return values;
  copy(ctx, t, Tensor::borrow(values.data(), t.shape(), DTypeOf<T>::value));
  ctx.stream().synchronize();
  return values;
}

/// A tensor of the values, which may go when the call returns.
template <class T>
Tensor to_device(Context& ctx, const std::vector<T>& values, const Shape& shape) {
  const Tensor t = Tensor::empty(ctx, shape, DTypeOf<T>::value, MemoryCategory::buffers);
  TRIREME_CHECK(t.numel() == static_cast<int64_t>(values.size()), "{} values for {}", values.size(),
                to_string(shape));
  if (values.empty()) return t;
  copy(ctx, Tensor::borrow(const_cast<T*>(values.data()), shape, DTypeOf<T>::value), t);
  ctx.stream().synchronize();
  return t;
}

}  // namespace trireme::ops
