#include "runtime/ops/cpu/weight_blocks/affine_fit.h"
#include "runtime/ops/cpu/weight_blocks/encoders.h"

namespace trireme::ops::cpu {

TRIREME_VECTORIZED void encode_row_q4_0(const float* x, int64_t blocks, uint8_t* out) {
  for (int64_t b = 0; b < blocks; ++b, x += 32, out += 18) {
    float largest = 0;
    for (int i = 0; i < 32; ++i) {
      const float magnitude = x[i] < 0 ? -x[i] : x[i];
      largest = magnitude > largest ? magnitude : largest;
    }
    float signed_largest = largest;  // of the first that is as large
    for (int i = 31; i >= 0; --i)
      signed_largest = x[i] == largest || x[i] == -largest ? x[i] : signed_largest;
    const float scale = signed_largest / -8.0f, reciprocal = 1.0f / scale;
    const float inverse = reciprocal - reciprocal == 0.0f ? reciprocal : 0.0f;
    store_half(fp16(scale), out);
    int codes[32];
    for (int i = 0; i < 32; ++i) {
      const auto code = static_cast<int>(x[i] * inverse + 8.5f);
      codes[i] = code > 15 ? 15 : code;
    }
    for (int i = 0; i < 16; ++i) out[2 + i] = static_cast<uint8_t>(codes[i] | codes[16 + i] << 4);
  }
}

TRIREME_VECTORIZED void encode_row_q4_1(const float* x, const float* weights, int64_t blocks, uint8_t* out) {
  for (int64_t b = 0; b < blocks; ++b, x += 32, weights += 32, out += 20) {
    const AffineFit fit = fit_affine(x, weights, false, 2);
    const fp16 scale = finite_half(fit.scale), least = finite_half(-fit.offset);
    float codes[32];
    codes_of(x, 32, scale, -static_cast<float>(least), 0.0f, kMostCode, codes);
    store_half(scale, out);
    store_half(least, out + 2);
    for (int i = 0; i < 16; ++i)
      out[4 + i] = static_cast<uint8_t>(static_cast<int>(codes[i]) | static_cast<int>(codes[16 + i]) << 4);
  }
}

}  // namespace trireme::ops::cpu
