// The compiler does not vectorise the conversion instructions of F16C and AVX-512 by itself, and the integer
// arithmetic of fp16's own conversion costs several times as much.
#include "runtime/ops/cpu/fp16_conversion.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <algorithm>

#include "runtime/ops/cpu/cpu_features.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

void widen_integer(const fp16* from, float* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}

void round_integer(const float* from, fp16* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) store(to + i, from[i]);
}

#if defined(__x86_64__)

constexpr int kNearestEven = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
#define TRIREME_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl")))
#define TRIREME_F16C __attribute__((target("avx,f16c")))

__mmask16 first_lanes(int64_t n) { return static_cast<__mmask16>(n >= 16 ? 0xffffu : (1u << n) - 1u); }

TRIREME_AVX512 void widen_avx512(const fp16* from, float* to, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = first_lanes(n - i);
    _mm512_mask_storeu_ps(to + i, lanes,
                          _mm512_maskz_cvtph_ps(lanes, _mm256_maskz_loadu_epi16(lanes, from + i)));
  }
}

TRIREME_AVX512 void round_avx512(const float* from, fp16* to, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = first_lanes(n - i);
    _mm256_mask_storeu_epi16(
        to + i, lanes, _mm512_maskz_cvtps_ph(lanes, _mm512_maskz_loadu_ps(lanes, from + i), kNearestEven));
  }
}

TRIREME_F16C void widen_f16c(const fp16* from, float* to, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  }
  widen_integer(from + i, to + i, n - i);
}

TRIREME_F16C void round_f16c(const float* from, fp16* to, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(from + i), kNearestEven));
  }
  round_integer(from + i, to + i, n - i);
}

#elif defined(__aarch64__)

void widen_neon(const fp16* from, float* to, int64_t n) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1q_f32(to + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&from[i].bits))));
  widen_integer(from + i, to + i, n - i);
}

// By the mode of the processor, which is nearest even unless somebody changes it.
void round_neon(const float* from, fp16* to, int64_t n) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1_u16(&to[i].bits, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(from + i))));
  round_integer(from + i, to + i, n - i);
}

#endif

}  // namespace

#if defined(__x86_64__)
std::span<const Fp16Conversion> fp16_conversions() {
  static const Fp16Conversion kWays[] = {
      {"avx512",
       __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl"),
       widen_avx512, round_avx512},
      {"f16c", has_f16c(), widen_f16c, round_f16c},
      {"integer", true, widen_integer, round_integer}};
  return kWays;
}
#else
std::span<const Fp16Conversion> fp16_conversions() {
  static const Fp16Conversion kWays[] = {
#if defined(__aarch64__)
    {"neon", true, widen_neon, round_neon},
#endif
    {"integer", true, widen_integer, round_integer}
  };
  return kWays;
}
#endif

namespace {

const Fp16Conversion& fastest() {
  static const Fp16Conversion& best =
      *std::ranges::find(fp16_conversions(), true, &Fp16Conversion::available);
  return best;
}

}  // namespace

void convert_range(const fp16* from, float* to, int64_t n) { fastest().widen(from, to, n); }
void convert_range(const float* from, fp16* to, int64_t n) { fastest().round(from, to, n); }

}  // namespace trireme::ops::cpu
