// Sums of a few rows by a panel in the registers of AVX-512. Include under #ifndef TRIREME_ONE_VERSION.
#pragma once

#include <algorithm>
#include <cstdint>

#include <immintrin.h>

#include "runtime/ops/cpu/gemm/gemm_kernels.h"
#include "runtime/ops/cpu/vectorize.h"

#define TRIREME_AVX512 __attribute__((target("arch=x86-64-v4")))

namespace trireme::ops::cpu {

inline constexpr int64_t kPanelVectors = 3, kPanelWidth = 16, kPanelColumns = kPanelVectors * kPanelWidth;

template <int kTile>
struct PanelSums {
  __m512 of[kTile][kPanelVectors];

  TRIREME_AVX512 TRIREME_INLINE static __mmask16 mask_of(int64_t n, int v) {
    const int64_t left = std::clamp<int64_t>(n - v * kPanelWidth, 0, kPanelWidth);
    return static_cast<__mmask16>((1u << left) - 1);
  }

  TRIREME_AVX512 TRIREME_INLINE void clear() {
#pragma GCC unroll 8
    for (int r = 0; r < kTile; ++r) {
#pragma GCC unroll 3
      for (int v = 0; v < kPanelVectors; ++v) of[r][v] = _mm512_setzero_ps();
    }
  }

  /// += x[r] * values, where x are the numbers of column i.
  TRIREME_AVX512 TRIREME_INLINE void add(const FloatRows& a, int64_t i,
                                         const __m512 (&values)[kPanelVectors]) {
#pragma GCC unroll 8
    for (int r = 0; r < kTile; ++r) {
      const __m512 x = _mm512_set1_ps(a.data[r * a.stride + i]);
#pragma GCC unroll 3
      for (int v = 0; v < kPanelVectors; ++v) of[r][v] = _mm512_fmadd_ps(x, values[v], of[r][v]);
    }
  }

  /// c[kTile, n] = start + sums; start as in GemmKernels::multiply.
  TRIREME_AVX512 TRIREME_INLINE void store(int64_t n, const FloatRows& start, float* c,
                                           int64_t stride_c) const {
#pragma GCC unroll 8
    for (int r = 0; r < kTile; ++r) {
#pragma GCC unroll 3
      for (int v = 0; v < kPanelVectors; ++v) {
        const __mmask16 mask = mask_of(n, v);
        __m512 sum = of[r][v];
        if (start.data != nullptr) {
          const float* from = start.data + r * start.stride + v * kPanelWidth;
          sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, from), sum);
        }
        _mm512_mask_storeu_ps(c + r * stride_c + v * kPanelWidth, mask, sum);
      }
    }
  }
};

}  // namespace trireme::ops::cpu
