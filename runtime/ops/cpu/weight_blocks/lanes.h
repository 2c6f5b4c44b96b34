// Sixteen choices of scales side by side, one a lane: sums over a block's elements are then in the elements'
// order whatever the instruction set, and need no sums across lanes.
#pragma once

#include <cstdint>
#include <cstring>

#include "runtime/base/half.h"
#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu {

inline constexpr int kLanes = 16;
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

/// By reference throughout: vectors wider than the default instruction set's have no calling convention.
TRIREME_INLINE void load(const float* from, Lanes& to) { std::memcpy(&to, from, sizeof to); }

/// To the nearest even of numbers within 2^22.
TRIREME_INLINE void round_lanes(Lanes& x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23, where floats are whole numbers
  x = (x + kShift) - kShift;
}

TRIREME_INLINE void clamp_lanes(Lanes& x, float least, float most) {
  const Lanes zero = {}, low = zero + least, high = zero + most;
  x = x < low ? low : x;
  x = x > high ? high : x;
}

TRIREME_INLINE float sum_of(const Lanes& x) {
  float sums[kLanes];
  std::memcpy(sums, &x, sizeof sums);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

/// The first lane with the least number; 0 where none is a number.
TRIREME_INLINE int least_lane(const Lanes& x) {
  int best = 0;
  for (int i = 1; i < kLanes; ++i) best = x[i] < x[best] || !(x[best] == x[best]) ? i : best;
  return best;
}

/// Codes in [least_code, most_code] stand for scale * code - offset. 1 / scale, and 0 where that is none.
TRIREME_INLINE void inverse_of(const Lanes& scale, Lanes& inverse) {
  const Lanes zero = {};
  inverse = 1.0f / scale;
  inverse = (inverse - inverse == zero) ? inverse : zero;
}

/// The weighted squared error of `count` values, each to the nearest of a lane's numbers.
TRIREME_INLINE void errors_of(const float* x, const float* weights, int count, const Lanes& scale,
                              const Lanes& offset, float least_code, float most_code, Lanes& errors) {
  Lanes inverse;
  inverse_of(scale, inverse);
  const Lanes zero = {};
  errors = zero;
  for (int i = 0; i < count; ++i) {
    Lanes code = (x[i] + offset) * inverse;
    clamp_lanes(code, least_code, most_code);
    round_lanes(code);
    const Lanes apart = code * scale - offset - x[i];
    errors += weights[i] * (apart * apart);
  }
}

/// The codes of those numbers for one scale and offset, as errors_of() has them.
TRIREME_INLINE void codes_of(const float* x, int count, float scale, float offset, float least_code,
                             float most_code, float* codes) {
  constexpr float kShift = 12582912.0f;
  const float reciprocal = 1.0f / scale, inverse = reciprocal - reciprocal == 0.0f ? reciprocal : 0.0f;
  for (int i = 0; i < count; ++i) {
    float code = (x[i] + offset) * inverse;
    code = code < least_code ? least_code : code;
    code = code > most_code ? most_code : code;
    codes[i] = (code + kShift) - kShift;
  }
}

/// Nearest fp16 that is finite.
TRIREME_INLINE fp16 finite_half(float x) {
  constexpr float kLargest = 65504.0f;
  x = x > kLargest ? kLargest : x;
  return fp16(x < -kLargest ? -kLargest : x);
}

TRIREME_INLINE void store_half(fp16 half, uint8_t* to) { std::memcpy(to, &half.bits, sizeof half.bits); }

}  // namespace trireme::ops::cpu
