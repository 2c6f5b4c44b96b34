// From a tensor's element type to the type of C++ that stands for it.
#pragma once

#include <type_traits>

#include "runtime/tensor/dtype.h"

namespace trireme {

/// Calls body with a value of the type that stands for `dtype`.
template <class Body>
void with_element_type(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body(float{});
    case DType::f64:
      return body(double{});
    case DType::bf16:
      return body(bf16{});
    case DType::f16:
      return body(fp16{});
    case DType::i32:
      return body(int32_t{});
    case DType::i64:
      return body(int64_t{});
    case DType::u8:
      return body(uint8_t{});
    case DType::f8e4m3:
      return body(fp8_e4m3{});
    case DType::f8e5m2:
      return body(fp8_e5m2{});
  }
}

/// Types of 16 and 8 bits that round are made of a float and become one.
template <class T>
using ConvertedBy = std::conditional_t<std::is_arithmetic_v<T>, double, float>;

/// An element from a number that its type holds, and back.
template <class T>
T to_element(double value) {
  return static_cast<T>(static_cast<ConvertedBy<T>>(value));
}
template <class T>
double from_element(T element) {
  return static_cast<ConvertedBy<T>>(element);
}

}  // namespace trireme
