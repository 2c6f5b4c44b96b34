// Kernels of AVX-512 with VNNI.
#ifndef __clang__
// GCC 12 takes the undefined registers that its own intrinsics begin with for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include "runtime/ops/cpu/packed/integers/integer_kernels.h"

namespace trireme::ops::cpu {

namespace {

#define TRIREME_KERNEL __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c")))
#define TRIREME_LANES inline __attribute__((always_inline)) TRIREME_KERNEL
#define TRIREME_UNROLL _Pragma("GCC unroll 8")

constexpr int kTogether = 8;

using Floats = __m512;
using Ints = __m512i;

TRIREME_LANES Ints load(const uint8_t* at) {
  Ints line = _mm512_loadu_si512(at);
  // Once: without this the compiler reads it again for every use.
  __asm__("" : "+v"(line));
  return line;
}
TRIREME_LANES __m128i load_16(const uint8_t* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}
TRIREME_LANES __m256i load_32(const uint8_t* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}
TRIREME_LANES Ints load_bytes(const uint8_t* at) { return _mm512_cvtepu8_epi32(load_16(at)); }
TRIREME_LANES Ints load_signed_bytes(const uint8_t* at) { return _mm512_cvtepi8_epi32(load_16(at)); }
TRIREME_LANES Floats load_floats(const float* at) { return _mm512_loadu_ps(at); }
TRIREME_LANES Floats load_fp16(const uint8_t* at) { return _mm512_cvtph_ps(load_32(at)); }
TRIREME_LANES Floats load_bf16(const uint8_t* at) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_32(at)), 16));
}
TRIREME_LANES void store(float* to, const Floats& x) { _mm512_storeu_ps(to, x); }

TRIREME_LANES Floats zeros() { return _mm512_setzero_ps(); }
TRIREME_LANES Floats every(float x) { return _mm512_set1_ps(x); }
TRIREME_LANES Ints every(int32_t x) { return _mm512_set1_epi32(x); }
TRIREME_LANES Ints every_byte(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }

TRIREME_LANES Ints both(const Ints& a, const Ints& b) { return _mm512_and_si512(a, b); }
TRIREME_LANES Ints either(const Ints& a, const Ints& b) { return _mm512_or_si512(a, b); }
TRIREME_LANES Ints differing(const Ints& a, const Ints& b) { return _mm512_xor_si512(a, b); }
TRIREME_LANES Ints minus(const Ints& a, const Ints& b) { return _mm512_sub_epi32(a, b); }
TRIREME_LANES Ints times(const Ints& a, const Ints& b) { return _mm512_mullo_epi32(a, b); }
template <int n>
TRIREME_LANES Ints left(const Ints& x) {
  return _mm512_slli_epi32(x, n);
}
template <int n>
TRIREME_LANES Ints right(const Ints& x) {
  return _mm512_srli_epi32(x, n);
}
// Byte n of each lane becomes byte `to`, the others zero. Of the control a byte names one of 16 bytes, or
// zero.
template <int n, int to>
TRIREME_LANES Ints moved_byte(const Ints& x) {
  constexpr uint32_t kPlace = 0xffu << (8 * to), kZeros = 0x80808080u & ~kPlace;
  constexpr uint32_t kLane = 0x01010101u & kPlace;
  return _mm512_shuffle_epi8(
      x, _mm512_set4_epi32(static_cast<int>(kZeros | kLane * (12 + n)),
                           static_cast<int>(kZeros | kLane * (8 + n)),
                           static_cast<int>(kZeros | kLane * (4 + n)), static_cast<int>(kZeros | kLane * n)));
}
template <int n>
TRIREME_LANES Ints byte_of(const Ints& x) {
  return moved_byte<n, 0>(x);
}
template <int n>
TRIREME_LANES Ints top_byte(const Ints& x) {
  return moved_byte<n, 3>(x);
}

TRIREME_LANES Floats to_floats(const Ints& x) { return _mm512_cvtepi32_ps(x); }
TRIREME_LANES Floats negative(const Floats& x) { return _mm512_xor_ps(x, every(-0.0f)); }
TRIREME_LANES Floats plus(const Floats& a, const Floats& b) { return _mm512_add_ps(a, b); }
TRIREME_LANES Floats multiply(const Floats& a, const Floats& b) { return _mm512_mul_ps(a, b); }
TRIREME_LANES Floats fma(const Floats& a, const Floats& b, const Floats& c) {
  return _mm512_fmadd_ps(a, b, c);
}

// Input j of a line of E4M3, times 2^-8: the bits of fp16 are a sign, a bit of the exponent that is zero, and
// the code's. Subnormal codes are subnormal halves, which conversion takes as fast as others.
template <int j>
TRIREME_LANES Floats small_fp8(const Ints& line) {
  const Ints upper = j % 2 == 0 ? _mm512_slli_epi16(line, 8) : line;
  const Ints halves = both(_mm512_srai_epi16(upper, 1), _mm512_set1_epi16(static_cast<int16_t>(0xbf80)));
  return _mm512_cvtph_ps(j < 2 ? _mm512_castsi512_si256(halves) : _mm512_extracti64x4_epi64(halves, 1));
}

template <int kBits>
TRIREME_LANES Ints add_products(const Ints& sum, const Ints& codes, const int8_t* x) {
  int32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  return _mm512_dpbusd_epi32(sum, codes, every(word));
}

#include "runtime/ops/cpu/packed/integers/panel_kernels.inc"

}  // namespace

const IntegerKernels kAvx512IntegerKernels = {"avx512 vnni", TRIREME_PANEL_KERNELS, multiply_all};

}  // namespace trireme::ops::cpu
