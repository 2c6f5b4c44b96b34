#include "runtime/ops/cpu/convert.h"

#include <cstring>

#include "runtime/base/error.h"
#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu {

namespace {

TRIREME_VECTORIZED void widen(const bf16* in, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = in[i];
}
TRIREME_VECTORIZED void widen(const fp16* in, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = in[i];
}
TRIREME_VECTORIZED void narrow(const float* in, bf16* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = bf16(in[i]);
}
TRIREME_VECTORIZED void narrow(const float* in, fp16* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = fp16(in[i]);
}

}  // namespace

void to_float(DType dtype, const void* in, float* out, int64_t n) {
  if (dtype == DType::bf16) return widen(static_cast<const bf16*>(in), out, n);
  if (dtype == DType::f16) return widen(static_cast<const fp16*>(in), out, n);
  TRIREME_CHECK(dtype == DType::f32, "{} to float", to_string(dtype));
  std::memcpy(out, in, static_cast<size_t>(n) * sizeof(float));
}

void from_float(DType dtype, const float* in, void* out, int64_t n) {
  if (dtype == DType::bf16) return narrow(in, static_cast<bf16*>(out), n);
  if (dtype == DType::f16) return narrow(in, static_cast<fp16*>(out), n);
  TRIREME_CHECK(dtype == DType::f32, "float to {}", to_string(dtype));
  std::memcpy(out, in, static_cast<size_t>(n) * sizeof(float));
}

}  // namespace trireme::ops::cpu
