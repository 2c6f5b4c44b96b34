#include "runtime/ops/cpu/packed/pair_dots.h"

#include "runtime/ops/cpu/cpu_features.h"

#ifndef TRIREME_ONE_VERSION
#include <cpuid.h>

#include "runtime/ops/cpu/packed/panel_sums.h"
#endif

namespace trireme::ops::cpu {

#ifdef TRIREME_ONE_VERSION

const PairDots* pair_dots() { return nullptr; }

#else

namespace {

#define TRIREME_AVX512_BF16 __attribute__((target("arch=x86-64-v4,avx512bf16")))

// Memory is asked for so many bytes before it is read.
constexpr int64_t kPairsAhead = 4096;

TRIREME_AVX512_BF16 TRIREME_INLINE __m512bh as_pairs(__m512i bits) {
  return reinterpret_cast<__m512bh>(bits);
}

template <int kTile>
TRIREME_AVX512_BF16 TRIREME_INLINE void add_pairs(PanelSums<kTile>& sums, const bf16* panel,
                                                  const uint32_t (&x)[kTile]) {
  __m512i values[kPanelVectors];
#pragma GCC unroll 3
  for (int v = 0; v < kPanelVectors; ++v) {
    const bf16* from = panel + 2 * v * kPanelWidth;
    values[v] = _mm512_loadu_si512(from);
    _mm_prefetch(reinterpret_cast<const char*>(from) + kPairsAhead, _MM_HINT_T0);
  }
#pragma GCC unroll 8
  for (int r = 0; r < kTile; ++r) {
    const __m512bh pair = as_pairs(_mm512_set1_epi32(static_cast<int>(x[r])));
#pragma GCC unroll 3
    for (int v = 0; v < kPanelVectors; ++v) {
      sums.of[r][v] = _mm512_dpbf16_ps(sums.of[r][v], pair, as_pairs(values[v]));
    }
  }
}

template <int kTile>
TRIREME_AVX512_BF16 TRIREME_INLINE int64_t pair_rows(int64_t row, const PairProduct& p,
                                                     const FloatRows& start, float* c, int64_t stride_c) {
  for (; row + kTile <= p.m; row += kTile) {
    const bf16* a = p.a + row * p.stride_a;
    PanelSums<kTile> sums;
    sums.clear();
    uint32_t x[kTile];
    int64_t i = 0;
    for (; i + 2 <= p.k; i += 2) {
#pragma GCC unroll 8
      for (int r = 0; r < kTile; ++r) __builtin_memcpy(&x[r], a + r * p.stride_a + i, sizeof x[r]);
      add_pairs(sums, p.panel + i * kPanelColumns, x);
    }
    if (i < p.k) {
#pragma GCC unroll 8
      for (int r = 0; r < kTile; ++r) x[r] = a[r * p.stride_a + i].bits;
      add_pairs(sums, p.panel + i * kPanelColumns, x);
    }
    const FloatRows from = {start.data == nullptr ? nullptr : start.data + row * start.stride, start.stride};
    sums.store(p.n, from, c + row * stride_c, stride_c);
  }
  return row;
}

TRIREME_AVX512_BF16 void multiply_pairs(const PairProduct& p, const FloatRows& start, float* c,
                                        int64_t stride_c) {
  int64_t row = pair_rows<8>(0, p, start, c, stride_c);
  // The rest in one tile: a panel is read once.
  row = pair_rows<7>(row, p, start, c, stride_c);
  row = pair_rows<6>(row, p, start, c, stride_c);
  row = pair_rows<5>(row, p, start, c, stride_c);
  row = pair_rows<4>(row, p, start, c, stride_c);
  row = pair_rows<3>(row, p, start, c, stride_c);
  row = pair_rows<2>(row, p, start, c, stride_c);
  pair_rows<1>(row, p, start, c, stride_c);
}

TRIREME_AVX512_BF16 void round_pairs(const float* sums, int64_t n, bf16* y) {
  for (int64_t j = 0; j < n; j += kPanelWidth) {
    const __mmask16 mask = PanelSums<1>::mask_of(n - j, 0);
    const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, sums + j));
    _mm256_mask_storeu_epi16(y + j, mask, reinterpret_cast<__m256i>(rounded));
  }
}

// AVX512_BF16 (CPUID's leaf 7), and no AMX, which multiplies several times as fast.
bool has_bf16_without_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0 || (a & (1u << 5)) == 0) return false;
  return !has_amx_bf16();
}

}  // namespace

const PairDots* pair_dots() {
  static constexpr PairDots kDots = {multiply_pairs, round_pairs};
  static const bool available = has_x86_64_v4() && has_bf16_without_amx();
  return available ? &kDots : nullptr;
}

#endif

}  // namespace trireme::ops::cpu
