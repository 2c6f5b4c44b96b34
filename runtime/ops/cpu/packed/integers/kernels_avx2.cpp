// Kernels of AVX2: 16 lanes in two registers.
#include <immintrin.h>

#include "runtime/ops/cpu/packed/integers/integer_kernels.h"

namespace trireme::ops::cpu {

namespace {

#define TRIREME_KERNEL __attribute__((target("avx2,fma,f16c")))
#define TRIREME_LANES inline __attribute__((always_inline, target("avx2,fma,f16c")))
#define TRIREME_UNROLL _Pragma("GCC unroll 8")

constexpr int kTogether = 2;

struct Floats {
  __m256 low, high;
};
struct Ints {
  __m256i low, high;
};

TRIREME_LANES __m256i load_register(const uint8_t* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}
TRIREME_LANES __m128i load_half(const uint8_t* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}
TRIREME_LANES __m128i load_quarter(const uint8_t* at) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
}

TRIREME_LANES Ints load(const uint8_t* at) { return {load_register(at), load_register(at + 32)}; }
TRIREME_LANES Ints load_bytes(const uint8_t* at) {
  return {_mm256_cvtepu8_epi32(load_quarter(at)), _mm256_cvtepu8_epi32(load_quarter(at + 8))};
}
TRIREME_LANES Ints load_signed_bytes(const uint8_t* at) {
  return {_mm256_cvtepi8_epi32(load_quarter(at)), _mm256_cvtepi8_epi32(load_quarter(at + 8))};
}
TRIREME_LANES Floats load_floats(const float* at) { return {_mm256_loadu_ps(at), _mm256_loadu_ps(at + 8)}; }
TRIREME_LANES Floats load_fp16(const uint8_t* at) {
  return {_mm256_cvtph_ps(load_half(at)), _mm256_cvtph_ps(load_half(at + 16))};
}
TRIREME_LANES __m256 widened_bf16(__m128i halves) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
TRIREME_LANES Floats load_bf16(const uint8_t* at) {
  return {widened_bf16(load_half(at)), widened_bf16(load_half(at + 16))};
}
TRIREME_LANES void store(float* to, const Floats& x) {
  _mm256_storeu_ps(to, x.low);
  _mm256_storeu_ps(to + 8, x.high);
}

TRIREME_LANES Floats zeros() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
TRIREME_LANES Floats every(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
TRIREME_LANES Ints every(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
TRIREME_LANES Ints every_byte(int x) {
  return every(static_cast<int32_t>(static_cast<uint32_t>(x) * 0x01010101u));
}

TRIREME_LANES Ints both(const Ints& a, const Ints& b) {
  return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
}
TRIREME_LANES Ints either(const Ints& a, const Ints& b) {
  return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}
TRIREME_LANES Ints differing(const Ints& a, const Ints& b) {
  return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
}
TRIREME_LANES Ints minus(const Ints& a, const Ints& b) {
  return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}
TRIREME_LANES Ints times(const Ints& a, const Ints& b) {
  return {_mm256_mullo_epi32(a.low, b.low), _mm256_mullo_epi32(a.high, b.high)};
}
template <int n>
TRIREME_LANES Ints left(const Ints& x) {
  return {_mm256_slli_epi32(x.low, n), _mm256_slli_epi32(x.high, n)};
}
template <int n>
TRIREME_LANES Ints right(const Ints& x) {
  return {_mm256_srli_epi32(x.low, n), _mm256_srli_epi32(x.high, n)};
}
template <int n>
TRIREME_LANES Ints byte_of(const Ints& x) {
  return both(right<8 * n>(x), every(255));
}
template <int n>
TRIREME_LANES Ints top_byte(const Ints& x) {
  return both(left<8 * (3 - n)>(x), every(static_cast<int32_t>(0xff000000)));
}

TRIREME_LANES Floats to_floats(const Ints& x) {
  return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)};
}
TRIREME_LANES Floats negative(const Floats& x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_xor_ps(x.low, sign), _mm256_xor_ps(x.high, sign)};
}
TRIREME_LANES Floats plus(const Floats& a, const Floats& b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
TRIREME_LANES Floats multiply(const Floats& a, const Floats& b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
TRIREME_LANES Floats fma(const Floats& a, const Floats& b, const Floats& c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}

// Input j of a line of E4M3, times 2^-8: the bits of fp16 are a sign, a bit of the exponent that is zero, and
// the code's.
template <int j>
TRIREME_LANES Floats small_fp8(const Ints& line) {
  const __m256i here = j < 2 ? line.low : line.high;
  const __m256i upper = j % 2 == 0 ? _mm256_slli_epi16(here, 8) : here;
  const __m256i halves =
      _mm256_and_si256(_mm256_srai_epi16(upper, 1), _mm256_set1_epi16(static_cast<int16_t>(0xbf80)));
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
          _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))};
}

// Sums of two products have to fit 16 bits, those with codes of 8 bits need not: they are taken in halves.
template <int kBits>
TRIREME_LANES __m256i products_of(__m256i codes, __m256i x) {
  const __m256i ones = _mm256_set1_epi16(1);
  if constexpr (kBits < 8) return _mm256_madd_epi16(_mm256_maddubs_epi16(codes, x), ones);
  const __m256i mask = _mm256_set1_epi8(15);
  const __m256i low = _mm256_maddubs_epi16(_mm256_and_si256(codes, mask), x);
  const __m256i high = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(codes, 4), mask), x);
  return _mm256_add_epi32(_mm256_madd_epi16(low, ones), _mm256_madd_epi16(high, _mm256_set1_epi16(16)));
}
template <int kBits>
TRIREME_LANES Ints add_products(const Ints& sum, const Ints& codes, const int8_t* x) {
  int32_t word;
  __builtin_memcpy(&word, x, sizeof word);
  const __m256i four = _mm256_set1_epi32(word);
  return {_mm256_add_epi32(sum.low, products_of<kBits>(codes.low, four)),
          _mm256_add_epi32(sum.high, products_of<kBits>(codes.high, four))};
}

#include "runtime/ops/cpu/packed/integers/panel_kernels.inc"

}  // namespace

const IntegerKernels kAvx2IntegerKernels = {"avx2", TRIREME_PANEL_KERNELS, multiply_all};

}  // namespace trireme::ops::cpu
