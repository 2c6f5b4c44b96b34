// How CPU bodies get vector code for the machine they run on: plain loops that the compiler vectorises, in
// functions that it compiles for several instruction sets; the loader picks one at start.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "runtime/base/half.h"

/// On the definition of a loop's function (no template): AVX-512, AVX2 and SSE2 versions; of arm64, whose
/// vectors are all of one width, one. What it calls must be inlined.
#if defined(TRIREME_ONE_VERSION) || !defined(__x86_64__)
#define TRIREME_VECTORIZED
#else
#define TRIREME_VECTORIZED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
#define TRIREME_INLINE inline __attribute__((always_inline))

namespace trireme::ops::cpu {

/// exp(x) to about 2 ulp for x in [-87, 88], clamped outside: e^-87 stands for every smaller value. Cephes'
/// expf: x = n ln 2 + r and a polynomial in r.
TRIREME_INLINE float fast_exp(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float n = std::nearbyint(x * 1.44269504f);
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

/// tanh(x) to about 4 ulp: near zero, where 1 - 2 / (e^2x + 1) would lose its digits, x + x z P(z), z = x^2,
/// with P through tanh at the Chebyshev nodes of [0, 0.36].
TRIREME_INLINE float fast_tanh(float x) {
  const float size = x < 0.0f ? -x : x, z = x * x;
  float p = -6.269119717e-3f;
  p = p * z + 2.111095905e-2f;
  p = p * z - 5.387394885e-2f;
  p = p * z + 1.333291537e-1f;
  p = p * z - 3.333333033e-1f;
  const float near = x + x * z * p;
  const float far = 1.0f - 2.0f / (fast_exp(2.0f * size) + 1.0f);
  return size < 0.6f ? near : std::copysign(far, x);
}

TRIREME_INLINE float fast_sigmoid(float x) { return 1.0f / (1.0f + fast_exp(-x)); }

/// of(0) + ... + of(n - 1), in 16 lanes, which are then added up in their order: the same additions whatever
/// vectors a machine has. `of` is inlined.
template <class Of>
TRIREME_INLINE float sum_in_lanes(int64_t n, const Of& of) {
  constexpr int64_t kSumLanes = 16;
  float lanes[kSumLanes] = {};
  int64_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes) {
    for (int64_t j = 0; j < kSumLanes; ++j) lanes[j] += of(i + j);
  }
  for (int64_t j = 0; i + j < n; ++j) lanes[j] += of(i + j);
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

/// Of the standard normal distribution at x.
struct Normal {
  float below;  ///< Phi(x), the share below x
  float bell;   ///< exp(-x^2 / 2), of which the density is 1 / sqrt(2 pi)
};

/// Phi with about 3 ulp, its tail below too, up to the rounding of x^2 in the exponent: Phi(-|x|) = exp(-x^2
/// / 2) t P(t) with t = 1 / (1 + 0.265 |x|), where P goes through it at the Chebyshev nodes of |x| <= 13.2;
/// beyond, the tail is below the smallest number of fast_exp.
TRIREME_INLINE Normal fast_normal(float x) {
  const float size = x < 0.0f ? -x : x, t = 1.0f / (1.0f + 0.265f * size);
  float p = 3.135096593e-2f;
  p = p * t - 1.468340243e-1f;
  p = p * t + 2.232618292e-1f;
  p = p * t - 1.226725273e-1f;
  p = p * t + 1.423711262e-1f;
  p = p * t + 5.840383445e-2f;
  p = p * t + 1.031970495e-1f;
  p = p * t + 1.051759625e-1f;
  p = p * t + 1.057457905e-1f;
  const float bell = fast_exp(-0.5f * x * x), tail = bell * t * p;
  return {x < 0.0f ? tail : 1.0f - tail, bell};
}

}  // namespace trireme::ops::cpu
