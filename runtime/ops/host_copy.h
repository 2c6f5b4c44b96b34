// Tensors between the device and the host's vectors. Copies wait for the stream.
#pragma once

#include <vector>

#include "runtime/ops/elementwise.h"

namespace trireme::ops {

/// The elements of t, once the stream has come to them. T is the tensor's type.
template <class T>
std::vector<T> to_host(Context& ctx, const Tensor& t) {
  std::vector<T> values(static_cast<size_t>(t.numel()));
  ctx.stream().copy(values.data(), t.data<T>(), static_cast<size_t>(t.bytes()));
  ctx.stream().synchronize();
  return values;
}

/// The elements of a tensor of any compute type in fp32.
inline std::vector<float> to_host_f32(Context& ctx, const Tensor& t) {
  if (t.dtype() == DType::f32) return to_host<float>(ctx, t);
  const Tensor wide = Tensor::empty(ctx, t.shape(), DType::f32, MemoryCategory::buffers);
  copy(ctx, t, wide);
  return to_host<float>(ctx, wide);
}

/// The only element.
template <class T>
T value_of(Context& ctx, const Tensor& t) {
  TRIREME_CHECK(t.numel() == 1, "{} read as one number", to_string(t.shape()));
  return to_host<T>(ctx, t)[0];
}

/// A tensor of the values, which may go when the call returns.
template <class T>
Tensor to_device(Context& ctx, const std::vector<T>& values, const Shape& shape) {
  const Tensor t = Tensor::empty(ctx, shape, DTypeOf<T>::value, MemoryCategory::buffers);
  TRIREME_CHECK(t.numel() == static_cast<int64_t>(values.size()), "{} values for {}", values.size(),
                to_string(shape));
  ctx.stream().copy(t.raw(), values.data(), static_cast<size_t>(t.bytes()));
  ctx.stream().synchronize();
  return t;
}

}  // namespace trireme::ops
