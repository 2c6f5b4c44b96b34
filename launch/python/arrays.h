// NumPy arrays of tensors.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "runtime/base/error.h"
#include "runtime/base/half.h"
#include "runtime/tensor/dtype.h"
#include "runtime/tensor/shape.h"

namespace trireme::launch::python {

inline std::vector<pybind11::ssize_t> dims_of(const Shape& shape) {
  std::vector<pybind11::ssize_t> dims;
  for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
  return dims;
}

inline pybind11::tuple shape_tuple(const Shape& shape) {
  return pybind11::tuple(pybind11::cast(dims_of(shape)));
}

/// An array that owns `values`, without a copy.
inline pybind11::array_t<float> take_array(std::vector<float> values, const Shape& shape) {
  auto owner = std::make_unique<std::vector<float>>(std::move(values));
  const pybind11::capsule base(owner.get(), [](void* p) { delete static_cast<std::vector<float>*>(p); });
  const float* data = owner.release()->data();
  return pybind11::array_t<float>(dims_of(shape), data, base);
}

/// NumPy's name of a stored type. It has none of bfloat16: that is float32, which holds each of its values,
/// or, `raw`, its bits as uint16.
inline const char* numpy_type(DType dtype, bool raw) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::bf16:
      return raw ? "uint16" : "float32";
    case DType::f16:
      return "float16";
    case DType::f64:
      return "float64";
    case DType::i32:
      return "int32";
    case DType::i64:
      return "int64";
    case DType::u8:
    case DType::f8e4m3:
    case DType::f8e5m2:
      return "uint8";
  }
  throw_usage("a type without a name: {}", static_cast<int>(dtype));
}

/// An array of packed little-endian elements, which it copies.
inline pybind11::array array_of(std::span<const std::byte> bytes, DType dtype, const Shape& shape, bool raw) {
  pybind11::array out(pybind11::dtype(numpy_type(dtype, raw)), dims_of(shape));
  if (dtype != DType::bf16 || raw) {
    std::memcpy(out.mutable_data(), bytes.data(), bytes.size());
    return out;
  }
  auto* values = static_cast<float*>(out.mutable_data());
  for (size_t i = 0; i < bytes.size() / sizeof(bf16); ++i) {
    bf16 element;
    std::memcpy(&element, bytes.data() + i * sizeof element, sizeof element);
    values[i] = static_cast<float>(element);
  }
  return out;
}

}  // namespace trireme::launch::python
