// Tensors of given or random values for tests, and the way back to plain vectors. CPU contexts only.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/philox.h"
#include "runtime/tensor/tensor.h"

namespace trireme::test {

/// Calls f with a float, bf16 or fp16 pointer to the tensor's elements.
template <class F>
void visit_compute_type(const Tensor& t, F&& f) {
  switch (t.dtype()) {
    case DType::f32:
      return f(t.data<float>());
    case DType::bf16:
      return f(t.data<bf16>());
    case DType::f16:
      return f(t.data<fp16>());
    default:
      TRIREME_CHECK(false, "{} is no compute type", to_string(t.dtype()));
  }
}

/// A tensor of a compute type with `values`, rounded to that type.
inline Tensor make_tensor(Context& ctx, const Shape& shape, DType dtype, const std::vector<float>& values) {
  const Tensor t = Tensor::empty(ctx, shape, dtype);
  TRIREME_CHECK(t.numel() == static_cast<int64_t>(values.size()), "{} values for {}", values.size(),
                to_string(shape));
  visit_compute_type(t, [&]<class T>(T* out) {
    for (size_t i = 0; i < values.size(); ++i) out[i] = static_cast<T>(values[i]);
  });
  return t;
}

/// Normal numbers of standard deviation `scale`, rounded to `dtype`.
inline Tensor random_tensor(Context& ctx, const Shape& shape, DType dtype, uint64_t seed,
                            float scale = 1.0f) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = scale * philox_normal4(seed, i / 4, 0)[i % 4];
  return make_tensor(ctx, shape, dtype, values);
}

/// The elements of a tensor of a compute type.
inline std::vector<float> to_vector(const Tensor& t) {
  std::vector<float> values(static_cast<size_t>(t.numel()));
  visit_compute_type(t, [&]<class T>(const T* in) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(in[i]);
  });
  return values;
}

}  // namespace trireme::test
