#include "runtime/ops/cpu/packed/sparse/few_rows.h"

#include <bit>

#include "runtime/ops/cpu/cpu_features.h"
#include "runtime/ops/cpu/packed/pair_dots.h"

#ifndef TRIREME_ONE_VERSION
#include "runtime/ops/cpu/packed/panel_sums.h"
#endif

namespace trireme::ops::cpu {

#ifdef TRIREME_ONE_VERSION

const FewRowsKernels* few_rows_kernels() { return nullptr; }

#else

namespace {

#define TRIREME_SPARSE __attribute__((target("arch=x86-64-v4,avx512vbmi2")))
#define TRIREME_SPARSE_BF16 __attribute__((target("arch=x86-64-v4,avx512vbmi2,avx512bf16")))

// So far ahead of what is read, in bytes, memory is asked for.
constexpr int64_t kStreamAhead = 4096, kStreamMasksAhead = 1024;

/// The next three lines.
template <class Mask>
TRIREME_SPARSE TRIREME_INLINE void next_lines(LineStream& lines, __m512i (&to)[kPanelVectors]) {
  static_assert(kPanelVectors == 3);
#pragma GCC unroll 3
  for (int v = 0; v < kPanelVectors; ++v) {
    Mask mask;
    __builtin_memcpy(&mask, lines.masks + static_cast<size_t>(v) * sizeof mask, sizeof mask);
    const __m512i values = _mm512_loadu_si512(lines.values);
    _mm_prefetch(reinterpret_cast<const char*>(lines.values) + kStreamAhead, _MM_HINT_T0);
    if constexpr (sizeof mask == 4) {
      to[v] = _mm512_maskz_expand_epi16(mask, values);
      lines.values += 2 * std::popcount(mask);
    } else {
      to[v] = _mm512_maskz_expand_epi32(mask, values);
      lines.values += 4 * std::popcount(mask);
    }
  }
  lines.masks += kPanelVectors * sizeof(Mask);
  _mm_prefetch(reinterpret_cast<const char*>(lines.masks) + kStreamMasksAhead, _MM_HINT_T0);
}

/// How the values of `kStep` inputs are made of three lines.
struct SparsePairs {
  using Mask = uint32_t;
  static constexpr int64_t kStep = 2;
  TRIREME_SPARSE TRIREME_INLINE static void widen(const __m512i (&lines)[kPanelVectors],
                                                  __m512 (&values)[2][kPanelVectors]) {
#pragma GCC unroll 3
    for (int v = 0; v < kPanelVectors; ++v) {
      values[0][v] = _mm512_castsi512_ps(_mm512_slli_epi32(lines[v], 16));
      values[1][v] =
          _mm512_castsi512_ps(_mm512_and_si512(lines[v], _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
    }
  }
};

struct SparseFloats {
  using Mask = uint16_t;
  static constexpr int64_t kStep = 1;
  TRIREME_SPARSE TRIREME_INLINE static void widen(const __m512i (&lines)[kPanelVectors],
                                                  __m512 (&values)[1][kPanelVectors]) {
#pragma GCC unroll 3
    for (int v = 0; v < kPanelVectors; ++v) values[0][v] = _mm512_castsi512_ps(lines[v]);
  }
};

template <class From, int kTile>
TRIREME_SPARSE TRIREME_INLINE void widened_tile(const FewRows<float>& p, LineStream& stream) {
  LineStream lines = stream;
  const FloatRows x = {p.a, p.stride_a};
  PanelSums<kTile> sums;
  sums.clear();
  __m512i read[kPanelVectors];
  __m512 values[From::kStep][kPanelVectors];
  int64_t i = 0;
  for (; i + From::kStep <= p.k; i += From::kStep) {
    next_lines<typename From::Mask>(lines, read);
    From::widen(read, values);
#pragma GCC unroll 2
    for (int64_t s = 0; s < From::kStep; ++s) sums.add(x, i + s, values[s]);
  }
  if (i < p.k) {
    next_lines<typename From::Mask>(lines, read);
    From::widen(read, values);
    sums.add(x, i, values[0]);
  }
  sums.store(p.n, p.start, p.c, p.stride_c);
  stream = lines;
}

template <class From>
TRIREME_SPARSE void widened_few(const FewRows<float>& p, LineStream& lines) {
  if (p.m == 1) return widened_tile<From, 1>(p, lines);
  if (p.m == 2) return widened_tile<From, 2>(p, lines);
  if (p.m == 3) return widened_tile<From, 3>(p, lines);
  widened_tile<From, 4>(p, lines);
}

template <int kTile>
TRIREME_SPARSE_BF16 TRIREME_INLINE void dots_tile(const FewRows<bf16>& p, LineStream& stream) {
  LineStream lines = stream;
  PanelSums<kTile> sums;
  sums.clear();
  for (int64_t i = 0; i < p.k; i += 2) {
    __m512i read[kPanelVectors];
    next_lines<uint32_t>(lines, read);
#pragma GCC unroll 4
    for (int r = 0; r < kTile; ++r) {
      const bf16* a = p.a + r * p.stride_a + i;
      uint32_t x = a->bits;
      if (i + 1 < p.k) __builtin_memcpy(&x, a, sizeof x);
      const auto pair = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(x)));
#pragma GCC unroll 3
      for (int v = 0; v < kPanelVectors; ++v)
        sums.of[r][v] = _mm512_dpbf16_ps(sums.of[r][v], pair, reinterpret_cast<__m512bh>(read[v]));
    }
  }
  sums.store(p.n, p.start, p.c, p.stride_c);
  stream = lines;
}

TRIREME_SPARSE_BF16 void dots_few(const FewRows<bf16>& p, LineStream& lines) {
  if (p.m == 1) return dots_tile<1>(p, lines);
  if (p.m == 2) return dots_tile<2>(p, lines);
  if (p.m == 3) return dots_tile<3>(p, lines);
  dots_tile<4>(p, lines);
}

}  // namespace

const FewRowsKernels* few_rows_kernels() {
  static const FewRowsKernels kKernels = {widened_few<SparsePairs>, widened_few<SparseFloats>,
                                          pair_dots() == nullptr ? nullptr : dots_few};
  static const bool available = has_x86_64_v4() && __builtin_cpu_supports("avx512vbmi2");
  return available ? &kKernels : nullptr;
}

#endif

}  // namespace trireme::ops::cpu
