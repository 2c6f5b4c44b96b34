#include "runtime/ops/cpu/packed/sparse/few_rows_int8.h"

#include <algorithm>
#include <bit>

#include "runtime/ops/cpu/cpu_features.h"

#ifndef TRIREME_ONE_VERSION
#include <immintrin.h>

#include "runtime/ops/cpu/vectorize.h"
#endif

namespace trireme::ops::cpu {

#ifdef TRIREME_ONE_VERSION

FewInt8Rows few_int8_rows() { return nullptr; }

#else

namespace {

#define TRIREME_SPARSE_VNNI __attribute__((target("arch=x86-64-v4,avx512vbmi2,avx512vnni")))

// So far ahead of what is read, in bytes, memory is asked for.
constexpr int64_t kCodesAhead = 4096, kCodeMasksAhead = 1024;
constexpr int kLines = kBlock / 4;

/// The eight lines of a block.
TRIREME_SPARSE_VNNI TRIREME_INLINE void next_block(LineStream& from, const __m512i& zeros,
                                                   __m512i (&codes)[kLines]) {
#pragma GCC unroll 8
  for (int g = 0; g < kLines; ++g) {
    uint64_t mask;
    __builtin_memcpy(&mask, from.masks + 8 * g, sizeof mask);
    const __m512i values = _mm512_loadu_si512(from.values);
    _mm_prefetch(reinterpret_cast<const char*>(from.values) + kCodesAhead, _MM_HINT_T0);
    codes[g] = _mm512_mask_expand_epi8(zeros, mask, values);
    from.values += std::popcount(mask);
  }
  _mm_prefetch(reinterpret_cast<const char*>(from.masks) + kCodeMasksAhead, _MM_HINT_T0);
  from.masks += 8 * kLines;
}

TRIREME_SPARSE_VNNI TRIREME_INLINE __m512 scales_at(const std::byte* from, int64_t scale_bytes) {
  if (scale_bytes == 4) return _mm512_loadu_ps(reinterpret_cast<const float*>(from));
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

TRIREME_SPARSE_VNNI TRIREME_INLINE __m512 with_block(const __m512i (&codes)[kLines], const QuantizedBlock& x,
                                                     const __m512& scale, const __m512& sum) {
  __m512i dot = _mm512_set1_epi32(-128 * x.sum);
#pragma GCC unroll 8
  for (int g = 0; g < kLines; ++g) {
    int32_t word;
    __builtin_memcpy(&word, x.q + 4 * g, sizeof word);
    dot = _mm512_dpbusd_epi32(dot, codes[g], _mm512_set1_epi32(word));
  }
  const __m512 factor = _mm512_mul_ps(scale, _mm512_set1_ps(x.scale));
  // The form without a mask begins with a number that is not set, which GCC warns of.
  return _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(__mmask16(-1), dot), factor, sum);
}

template <int kRows>
TRIREME_SPARSE_VNNI TRIREME_INLINE void int8_tile(const PanelLayout& layout, const SparsePanel& panel,
                                                  const QuantizedRows& x, float* sums) {
  const std::byte* plain = panel.plain();
  LineStream lines = panel.stream();
  const __m512i zeros = _mm512_set1_epi8(static_cast<char>(128));
  __m512 sum[kRows], scale = scales_at(plain, layout.scale_bytes);
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) sum[r] = _mm512_setzero_ps();
  for (int64_t b = 0; b < layout.blocks; ++b) {
    if (layout.group_blocks != 0 && b % layout.group_blocks == 0) {
      scale = scales_at(plain, layout.scale_bytes);
      plain += kPanel * layout.scale_bytes;
      // The scales of a chunk are filled up to whole lines.
      if ((b + layout.group_blocks) % PanelLayout::kChunk == 0) {
        plain = panel.plain() + (b / PanelLayout::kChunk + 1) * layout.codes;
      }
    }
    __m512i codes[kLines];
    next_block(lines, zeros, codes);
    // The weights push x out of the first cache.
    if constexpr (kRows == 1) _mm_prefetch(reinterpret_cast<const char*>(x.data + b + 4), _MM_HINT_T0);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) sum[r] = with_block(codes, x.data[r * x.stride + b], scale, sum[r]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) _mm512_storeu_ps(sums + r * kPanel, sum[r]);
}

TRIREME_SPARSE_VNNI void int8_few(const PanelLayout& layout, const SparsePanel& panel, const QuantizedRows& x,
                                  int64_t rows, float* sums) {
  if (rows == 1) return int8_tile<1>(layout, panel, x, sums);
  if (rows == 2) return int8_tile<2>(layout, panel, x, sums);
  if (rows == 3) return int8_tile<3>(layout, panel, x, sums);
  int8_tile<4>(layout, panel, x, sums);
}

}  // namespace

FewInt8Rows few_int8_rows() {
  static const bool available =
      has_x86_64_v4() && __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vnni");
  return available ? int8_few : nullptr;
}

#endif

}  // namespace trireme::ops::cpu
