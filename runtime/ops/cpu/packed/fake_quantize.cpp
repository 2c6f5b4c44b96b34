#include "runtime/ops/cpu/packed/fake_quantize.h"

#include <algorithm>
#include <cmath>

#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu {

TRIREME_VECTORIZED void code_by_scale(const float* x, int64_t n, float scale, float middle, uint8_t* codes) {
  const float top = 2 * middle - 1;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float code = std::nearbyint(x[i] / scale) + middle;
    codes[i] = static_cast<uint8_t>(static_cast<int32_t>(std::min(std::max(code, 1.0f), top)));
  }
}

TRIREME_VECTORIZED void decode_group(const uint8_t* codes, int64_t n, float scale, float zero, float* x) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) x[i] = scale * (static_cast<float>(codes[i]) - zero);
}

TRIREME_VECTORIZED float add_group_gradients(const float* w, const float* dvalues, int64_t n, float scale,
                                             float most, float* dw) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) {
    const float v = w[i] / scale;
    const bool inside = std::fabs(v) < most;
    const float by_scale = inside ? std::nearbyint(v) - v : std::copysign(most, v);
    sum += dvalues[i] * by_scale;
    dw[i] += inside ? dvalues[i] : 0.0f;
  }
  return sum;
}

}  // namespace trireme::ops::cpu
