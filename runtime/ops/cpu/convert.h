// Conversion of runs of elements between storage types and float, for bodies that compute in float.
#pragma once

#include <cstdint>

#include "runtime/tensor/dtype.h"

namespace trireme::ops::cpu {

/// out[i] = the i-th element at `in`, for i in [0, n).
void to_float(DType dtype, const void* in, float* out, int64_t n);
/// The i-th element at `out` = in[i], rounded to nearest even.
void from_float(DType dtype, const float* in, void* out, int64_t n);

}  // namespace trireme::ops::cpu
