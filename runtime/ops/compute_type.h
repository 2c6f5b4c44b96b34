// From a tensor's element type to the type of C++ that stands for it.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// Calls body with a value of the type that stands for `dtype`: float, bf16 or fp16.
template <class Body>
void with_compute_type(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body(float{});
    case DType::bf16:
      return body(bf16{});
    case DType::f16:
      return body(fp16{});
    default:
      TRIREME_CHECK(false, "{} is no compute type", to_string(dtype));
  }
}

template <class T>
T* data_or_null(const Columns& t) {
  return t ? t.data<T>() : nullptr;
}

}  // namespace trireme::ops
