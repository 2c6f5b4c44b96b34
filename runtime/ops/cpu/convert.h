// Conversion between storage types and float, for bodies that compute in float.
#pragma once

#include <cstdint>

#include "runtime/tensor/dtype.h"

namespace trireme::ops::cpu {

/// out[i] = the i-th element at `in`, for i in [0, n).
void to_float(DType dtype, const void* in, float* out, int64_t n);
/// The i-th element at `out` = in[i], rounded to nearest even.
void from_float(DType dtype, const float* in, void* out, int64_t n);

/// The same for `rows` rows of `columns` elements: dense on the side of the floats, `stride` elements apart
/// on the other.
void rows_to_float(DType dtype, const void* in, int64_t stride, float* out, int64_t rows, int64_t columns);
void rows_from_float(DType dtype, const float* in, void* out, int64_t stride, int64_t rows, int64_t columns);

}  // namespace trireme::ops::cpu
