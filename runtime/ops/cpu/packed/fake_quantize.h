// Loops of fake quantization, over the inputs of one group.
#pragma once

#include <cstdint>

namespace trireme::ops::cpu {

/// codes = round(x / scale) + middle, clipped to [1, 2 middle - 1].
void code_by_scale(const float* x, int64_t n, float scale, float middle, uint8_t* codes);
/// x = scale * (code - zero).
void decode_group(const uint8_t* codes, int64_t n, float scale, float zero, float* x);
/// dw += dvalues where |w / scale| < most; returns sum of dvalues * (round(v) - v) there, and of
/// +-most * dvalues elsewhere: the derivative by the scale.
float add_group_gradients(const float* w, const float* dvalues, int64_t n, float scale, float most,
                          float* dw);

}  // namespace trireme::ops::cpu
