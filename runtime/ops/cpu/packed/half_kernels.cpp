#include "runtime/ops/cpu/packed/half_kernels.h"

#include "runtime/ops/cpu/cpu_features.h"

#ifndef TRIREME_ONE_VERSION
#include "runtime/ops/cpu/packed/panel_sums.h"
#endif

namespace trireme::ops::cpu {

#if defined(__aarch64__)  // half_kernels_neon.cpp
#elif defined(TRIREME_ONE_VERSION)

const WideningKernels* widening_kernels() { return nullptr; }

#else

namespace {

// So far ahead of what is read, in bytes, memory is asked for.
constexpr int64_t kAhead = 4096;

TRIREME_AVX512 TRIREME_INLINE void ask_ahead(const void* from) {
  _mm_prefetch(static_cast<const char*>(from) + kAhead, _MM_HINT_T0);
}

// Sixteen numbers of 32 bits, wherever they lie.
typedef uint32_t Bits __attribute__((vector_size(64), aligned(2), may_alias));

struct FromPairs {
  using Element = bf16;
  static constexpr int64_t kStep = 2;
  // Inputs i and i + 1.
  TRIREME_AVX512 TRIREME_INLINE static void load(const bf16* panel, int64_t i,
                                                 __m512 (&values)[2][kPanelVectors]) {
    const bf16* from = panel + i * kPanelColumns;
#pragma GCC unroll 3
    for (int v = 0; v < kPanelVectors; ++v) {
      const auto pairs = *reinterpret_cast<const Bits*>(from + 2 * v * kPanelWidth);
      ask_ahead(from + 2 * v * kPanelWidth);
      values[0][v] = reinterpret_cast<__m512>(pairs << 16);
      values[1][v] = reinterpret_cast<__m512>(pairs & 0xffff0000u);
    }
  }
};

struct FromHalves {
  using Element = fp16;
  static constexpr int64_t kStep = 1;
  TRIREME_AVX512 TRIREME_INLINE static void load(const fp16* panel, int64_t i,
                                                 __m512 (&values)[1][kPanelVectors]) {
    const fp16* from = panel + i * kPanelColumns;
#pragma GCC unroll 3
    for (int v = 0; v < kPanelVectors; ++v) {
      // The form without a mask begins with a number that is not set, which GCC warns of.
      values[0][v] = _mm512_maskz_cvtph_ps(
          __mmask16(-1), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + v * kPanelWidth)));
    }
    ask_ahead(from);
    ask_ahead(from + 2 * kPanelWidth);
  }
};

template <class From, int kTile>
TRIREME_AVX512 TRIREME_INLINE int64_t widened_rows(int64_t row, int64_t m, int64_t n, int64_t k,
                                                   const FloatRows& a, const typename From::Element* panel,
                                                   const FloatRows& start, float* c, int64_t stride_c) {
  for (; row + kTile <= m; row += kTile) {
    const FloatRows x = {a.data + row * a.stride, a.stride};
    PanelSums<kTile> sums;
    sums.clear();
    __m512 values[From::kStep][kPanelVectors];
    int64_t i = 0;
    for (; i + From::kStep <= k; i += From::kStep) {
      From::load(panel, i, values);
#pragma GCC unroll 2
      for (int64_t s = 0; s < From::kStep; ++s) sums.add(x, i + s, values[s]);
    }
    if (i < k) {
      From::load(panel, i, values);
      sums.add(x, i, values[0]);
    }
    const FloatRows from = {start.data == nullptr ? nullptr : start.data + row * start.stride, start.stride};
    sums.store(n, from, c + row * stride_c, stride_c);
  }
  return row;
}

template <class From>
TRIREME_AVX512 void multiply_widened(int64_t m, int64_t n, int64_t k, const FloatRows& a,
                                     const typename From::Element* panel, const FloatRows& start, float* c,
                                     int64_t stride_c) {
  int64_t row = widened_rows<From, 8>(0, m, n, k, a, panel, start, c, stride_c);
  // The rest in one tile: a panel is read once.
  row = widened_rows<From, 7>(row, m, n, k, a, panel, start, c, stride_c);
  row = widened_rows<From, 6>(row, m, n, k, a, panel, start, c, stride_c);
  row = widened_rows<From, 5>(row, m, n, k, a, panel, start, c, stride_c);
  row = widened_rows<From, 4>(row, m, n, k, a, panel, start, c, stride_c);
  row = widened_rows<From, 3>(row, m, n, k, a, panel, start, c, stride_c);
  row = widened_rows<From, 2>(row, m, n, k, a, panel, start, c, stride_c);
  widened_rows<From, 1>(row, m, n, k, a, panel, start, c, stride_c);
}

}  // namespace

const WideningKernels* widening_kernels() {
  static constexpr WideningKernels kKernels = {multiply_widened<FromPairs>, multiply_widened<FromHalves>};
  static const bool available = has_x86_64_v4();
  return available ? &kKernels : nullptr;
}

#endif

}  // namespace trireme::ops::cpu
