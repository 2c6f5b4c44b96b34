// Products of few rows with panels of 16-bit weights, which are widened in registers of NEON.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "runtime/ops/cpu/packed/half_kernels.h"
#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu {

namespace {

// As the tiles of GemmKernels have it on arm64.
constexpr int64_t kNeonVectors = 3, kNeonColumns = 4 * kNeonVectors;

struct NeonPairs {
  using Element = bf16;
  static constexpr int64_t kStep = 2;
  // Inputs i and i + 1.
  TRIREME_INLINE static void load(const bf16* panel, int64_t i, float32x4_t (&values)[2][kNeonVectors]) {
    const uint16_t* from = &panel[i * kNeonColumns].bits;
#pragma GCC unroll 3
    for (int v = 0; v < kNeonVectors; ++v) {
      const uint32x4_t pairs = vreinterpretq_u32_u16(vld1q_u16(from + 8 * v));
      values[0][v] = vreinterpretq_f32_u32(pairs << 16);
      values[1][v] = vreinterpretq_f32_u32(pairs & 0xffff0000u);
    }
  }
};

struct NeonHalves {
  using Element = fp16;
  static constexpr int64_t kStep = 1;
  TRIREME_INLINE static void load(const fp16* panel, int64_t i, float32x4_t (&values)[1][kNeonVectors]) {
    const uint16_t* from = &panel[i * kNeonColumns].bits;
#pragma GCC unroll 3
    for (int v = 0; v < kNeonVectors; ++v)
      values[0][v] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + 4 * v)));
  }
};

template <int kTile>
struct NeonSums {
  float32x4_t of[kTile][kNeonVectors] = {};

  TRIREME_INLINE void add(const FloatRows& a, int64_t i, const float32x4_t (&values)[kNeonVectors]) {
#pragma GCC unroll 4
    for (int r = 0; r < kTile; ++r) {
#pragma GCC unroll 3
      for (int v = 0; v < kNeonVectors; ++v)
        of[r][v] = vfmaq_n_f32(of[r][v], values[v], a.data[r * a.stride + i]);
    }
  }
  TRIREME_INLINE void store(int64_t n, const FloatRows& start, float* c, int64_t stride_c) const {
    for (int r = 0; r < kTile; ++r) {
      float sums[kNeonColumns];
#pragma GCC unroll 3
      for (int v = 0; v < kNeonVectors; ++v) vst1q_f32(sums + 4 * v, of[r][v]);
      for (int64_t j = 0; j < n; ++j) {
        c[r * stride_c + j] = start.data == nullptr ? sums[j] : start.data[r * start.stride + j] + sums[j];
      }
    }
  }
};

template <class From, int kTile>
TRIREME_INLINE int64_t neon_rows(int64_t row, int64_t m, int64_t n, int64_t k, const FloatRows& a,
                                 const typename From::Element* panel, const FloatRows& start, float* c,
                                 int64_t stride_c) {
  for (; row + kTile <= m; row += kTile) {
    const FloatRows x = {a.data + row * a.stride, a.stride};
    NeonSums<kTile> sums;
    float32x4_t values[From::kStep][kNeonVectors];
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
void multiply_neon(int64_t m, int64_t n, int64_t k, const FloatRows& a, const typename From::Element* panel,
                   const FloatRows& start, float* c, int64_t stride_c) {
  int64_t row = neon_rows<From, 4>(0, m, n, k, a, panel, start, c, stride_c);
  row = neon_rows<From, 2>(row, m, n, k, a, panel, start, c, stride_c);
  neon_rows<From, 1>(row, m, n, k, a, panel, start, c, stride_c);
}

}  // namespace

const WideningKernels* widening_kernels() {
  static constexpr WideningKernels kKernels = {multiply_neon<NeonPairs>, multiply_neon<NeonHalves>};
  return gemm_kernels().columns == kNeonColumns ? &kKernels : nullptr;
}

}  // namespace trireme::ops::cpu
#endif
