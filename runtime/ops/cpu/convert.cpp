#include "runtime/ops/cpu/convert.h"

#include "runtime/base/error.h"
#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu {

namespace {

template <class From, class To>
TRIREME_INLINE void convert_rows(const From* __restrict in, int64_t in_stride, To* __restrict out,
                                 int64_t out_stride, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      out[r * out_stride + c] = static_cast<To>(static_cast<float>(in[r * in_stride + c]));
    }
  }
}

#define TRIREME_CONVERT(From, To)                                                                 \
  TRIREME_VECTORIZED void convert(const From* in, int64_t in_stride, To* out, int64_t out_stride, \
                                  int64_t rows, int64_t columns) {                                \
    convert_rows(in, in_stride, out, out_stride, rows, columns);                                  \
  }
TRIREME_CONVERT(float, float)
TRIREME_CONVERT(bf16, float)
TRIREME_CONVERT(fp16, float)
TRIREME_CONVERT(float, bf16)
TRIREME_CONVERT(float, fp16)
#undef TRIREME_CONVERT

}  // namespace

void rows_to_float(DType dtype, const void* in, int64_t stride, float* out, int64_t rows, int64_t columns) {
  switch (dtype) {
    case DType::f32:
      return convert(static_cast<const float*>(in), stride, out, columns, rows, columns);
    case DType::bf16:
      return convert(static_cast<const bf16*>(in), stride, out, columns, rows, columns);
    case DType::f16:
      return convert(static_cast<const fp16*>(in), stride, out, columns, rows, columns);
    default:
      TRIREME_CHECK(false, "{} is no compute type", to_string(dtype));
  }
}

void rows_from_float(DType dtype, const float* in, void* out, int64_t stride, int64_t rows, int64_t columns) {
  switch (dtype) {
    case DType::f32:
      return convert(in, columns, static_cast<float*>(out), stride, rows, columns);
    case DType::bf16:
      return convert(in, columns, static_cast<bf16*>(out), stride, rows, columns);
    case DType::f16:
      return convert(in, columns, static_cast<fp16*>(out), stride, rows, columns);
    default:
      TRIREME_CHECK(false, "{} is no compute type", to_string(dtype));
  }
}

void to_float(DType dtype, const void* in, float* out, int64_t n) { rows_to_float(dtype, in, n, out, 1, n); }
void from_float(DType dtype, const float* in, void* out, int64_t n) {
  rows_from_float(dtype, in, out, n, 1, n);
}

}  // namespace trireme::ops::cpu
