#include "runtime/ops/cpu/gemm/gemm_kernels.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "runtime/ops/cpu/cpu_features.h"
#include "runtime/ops/cpu/gemm/few_rows_kernels.h"
#include "runtime/ops/cpu/gemm/vector_square.h"
#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu {

namespace {

// Sums of a tile stay in registers: kRows rows of up to three vectors of kWidth floats.
template <int kVectorWidth, int kTileRows>
struct Kernels {
  static constexpr int kWidth = kVectorWidth, kRows = kTileRows;
  static constexpr int64_t kColumns = 3 * kWidth;
  using Vector = typename VectorSquare<kWidth>::Vector;

  // Where element (r, i) of the rows of a tile lies.
  struct InPlace {
    const float* data;
    int64_t stride;
    InPlace(const FloatRows& a, int64_t row) : data(a.data + row * a.stride), stride(a.stride) {}
    TRIREME_INLINE float at(int64_t r, int64_t i) const { return data[r * stride + i]; }
    // What the next tile reads: short pieces of rows, which the machine does not foresee.
    TRIREME_INLINE void prefetch(int64_t tile, int64_t i) const {
      for (int64_t r = tile; r < 2 * tile; ++r) __builtin_prefetch(data + r * stride + i);
    }
  };
  struct InPanels {
    const float* data;
    InPanels(const FloatRows& a, int64_t row) : data(a.data + row / kRows * a.stride + row % kRows) {}
    TRIREME_INLINE float at(int64_t r, int64_t i) const { return data[i * kRows + r]; }
    TRIREME_INLINE void prefetch(int64_t, int64_t) const {}
  };

  template <int kTile, int kVectors, class A>
  TRIREME_INLINE static void add_products(int64_t i, const A& a, const float* panel,
                                          Vector (&sums)[kTile][kVectors]) {
    const float* b = panel + i * kColumns;
    Vector values[kVectors];
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) {
      values[v] = *reinterpret_cast<const Vector*>(b + v * kWidth);
      __builtin_prefetch(b + 8 * kColumns + v * kWidth);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kTile; ++r) {
      const float x = a.at(r, i);
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) sums[r][v] += x * values[v];
    }
  }

  // c[kTile, kVectors * kWidth] = start + a · panel. c comes into the cache while the sums are in flight: a
  // row at a time, as all at once would hold up the loads of a and b.
  template <int kTile, int kVectors, class A>
  TRIREME_INLINE static void tile(int64_t k, const A& a, const float* __restrict panel,
                                  const FloatRows& start, float* c, int64_t stride_c) {
    Vector sums[kTile][kVectors] = {};
    const int64_t head = std::min<int64_t>(k, kTile);
    for (int64_t i = 0; i < head; ++i) {
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) __builtin_prefetch(c + i * stride_c + v * kWidth, 1);
      __builtin_prefetch(c + i * stride_c + kVectors * kWidth - 1, 1);
      add_products(i, a, panel, sums);
    }
    int64_t i = head;
    for (; i + 16 <= k; i += 16) {
      a.prefetch(kTile, i);
      for (int64_t x = i; x < i + 16; ++x) add_products(x, a, panel, sums);
    }
    for (; i < k; ++i) add_products(i, a, panel, sums);
#pragma GCC unroll 8
    for (int r = 0; r < kTile; ++r) {
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) {
        Vector* to = reinterpret_cast<Vector*>(c + r * stride_c + v * kWidth);
        if (start.data == nullptr) {
          *to = sums[r][v];
        } else {
          *to = *reinterpret_cast<const Vector*>(start.data + r * start.stride + v * kWidth) + sums[r][v];
        }
      }
    }
  }

  // The same where the last vector has fewer columns than it could.
  template <int kTile, int kVectors, class A>
  TRIREME_INLINE static void narrow_tile(int64_t n, int64_t k, const A& a, const float* panel,
                                         const FloatRows& start, float* c, int64_t stride_c) {
    float sums[kTile * kColumns];
    tile<kTile, kVectors>(k, a, panel, {}, sums, kColumns);
    for (int64_t r = 0; r < kTile; ++r) {
      for (int64_t j = 0; j < n; ++j) {
        const float sum = sums[r * kColumns + j];
        c[r * stride_c + j] = start.data == nullptr ? sum : start.data[r * start.stride + j] + sum;
      }
    }
  }

  template <int kTile, int kVectors, class A>
  TRIREME_INLINE static int64_t rows(int64_t row, int64_t m, int64_t n, int64_t k, const FloatRows& a,
                                     const float* panel, const FloatRows& start, float* c, int64_t stride_c) {
    for (; row + kTile <= m; row += kTile) {
      const A from(a, row);
      const FloatRows start_here = {start.data == nullptr ? nullptr : start.data + row * start.stride,
                                    start.stride};
      if (n == kVectors * kWidth) {
        tile<kTile, kVectors>(k, from, panel, start_here, c + row * stride_c, stride_c);
      } else {
        narrow_tile<kTile, kVectors>(n, k, from, panel, start_here, c + row * stride_c, stride_c);
      }
    }
    return row;
  }

  template <int kVectors, class A>
  TRIREME_INLINE static void all_rows(int64_t m, int64_t n, int64_t k, const FloatRows& a, const float* panel,
                                      const FloatRows& start, float* c, int64_t stride_c) {
    int64_t row = 0;
    // Where whole panels are multiplied by few rows, those left are one tile: a panel is read once.
    constexpr bool kIsOnce = kVectors == 3 && std::is_same_v<A, InPlace>;
    if constexpr (kRows == 8) row = rows<8, kVectors, A>(row, m, n, k, a, panel, start, c, stride_c);
    if constexpr (kRows == 8 && kIsOnce) {
      row = rows<7, kVectors, A>(row, m, n, k, a, panel, start, c, stride_c);
      row = rows<6, kVectors, A>(row, m, n, k, a, panel, start, c, stride_c);
      row = rows<5, kVectors, A>(row, m, n, k, a, panel, start, c, stride_c);
    }
    row = rows<4, kVectors, A>(row, m, n, k, a, panel, start, c, stride_c);
    if constexpr (kIsOnce) row = rows<3, kVectors, A>(row, m, n, k, a, panel, start, c, stride_c);
    row = rows<2, kVectors, A>(row, m, n, k, a, panel, start, c, stride_c);
    rows<1, kVectors, A>(row, m, n, k, a, panel, start, c, stride_c);
  }

  template <class A>
  TRIREME_INLINE static void multiply(int64_t m, int64_t n, int64_t k, const FloatRows& a, const float* panel,
                                      const FloatRows& start, float* c, int64_t stride_c) {
    if (n > 2 * kWidth) return all_rows<3, A>(m, n, k, a, panel, start, c, stride_c);
    if (n > kWidth) return all_rows<2, A>(m, n, k, a, panel, start, c, stride_c);
    all_rows<1, A>(m, n, k, a, panel, start, c, stride_c);
  }

  TRIREME_INLINE static void pack_b(bool transposed, const FloatRows& b, int64_t k, int64_t n, float alpha,
                                    float* __restrict panel) {
    if (!transposed) {
      for (int64_t i = 0; i < k; ++i) {
        const float* from = b.data + i * b.stride;
        float* to = panel + i * kColumns;
        for (int64_t j = 0; j < kColumns; j += 16) __builtin_prefetch(from + 8 * b.stride + j);
        if (n == kColumns) {
          for (int64_t j = 0; j < kColumns; ++j) to[j] = alpha * from[j];
          continue;
        }
        for (int64_t j = 0; j < n; ++j) to[j] = alpha * from[j];
        for (int64_t j = n; j < kColumns; ++j) to[j] = 0;
      }
      return;
    }
    int64_t j = 0;
    for (; j + kWidth <= n; j += kWidth) {
      int64_t i = 0;
      for (; i + kWidth <= k; i += kWidth) {
        transpose(b.data + j * b.stride + i, b.stride, alpha, panel + i * kColumns + j);
      }
      for (; i < k; ++i) {
        for (int64_t x = j; x < j + kWidth; ++x) panel[i * kColumns + x] = alpha * b.data[x * b.stride + i];
      }
    }
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t x = j; x < n; ++x) panel[i * kColumns + x] = alpha * b.data[x * b.stride + i];
      for (int64_t x = std::max(j, n); x < kColumns; ++x) panel[i * kColumns + x] = 0;
    }
  }

  // to[i, j] = alpha * from[j, i] for a square of kWidth.
  TRIREME_INLINE static void transpose(const float* from, int64_t stride, float alpha, float* to) {
    VectorSquare<kWidth> square;
#pragma GCC unroll 16
    for (int r = 0; r < kWidth; ++r) {
      __builtin_prefetch(from + r * stride + 4 * kWidth);
      square.rows[r] = alpha * *reinterpret_cast<const Vector*>(from + r * stride);
    }
    square.transpose();
#pragma GCC unroll 16
    for (int r = 0; r < kWidth; ++r) *reinterpret_cast<Vector*>(to + r * kColumns) = square.rows[r];
  }

  // Several panels in one walk along a row: each row lies in a page of its own.
  TRIREME_INLINE static void pack_transposed_a(const FloatRows& a, int64_t k, int64_t m, int64_t panel_stride,
                                               float* __restrict panels) {
    constexpr int64_t kTogether = 8;
    int64_t row = 0;
    for (; row + kTogether * kRows <= m; row += kTogether * kRows) {
      float* to = panels + row / kRows * panel_stride;
      for (int64_t i = 0; i < k; ++i) {
        const float* from = a.data + i * a.stride + row;
        for (int64_t x = 0; x < kTogether * kRows; x += 16) __builtin_prefetch(from + 4 * a.stride + x);
#pragma GCC unroll 8
        for (int64_t p = 0; p < kTogether; ++p) {
          for (int64_t r = 0; r < kRows; ++r) to[p * panel_stride + i * kRows + r] = from[p * kRows + r];
        }
      }
    }
    for (; row < m; row += kRows) {
      float* to = panels + row / kRows * panel_stride;
      const int64_t here = std::min<int64_t>(kRows, m - row);
      for (int64_t i = 0; i < k; ++i) {
        for (int64_t r = 0; r < here; ++r) to[i * kRows + r] = a.data[i * a.stride + row + r];
      }
    }
  }
};

// Functions for one instruction set and the table of them.
#define TRIREME_GEMM_KERNELS(name, target, width, tile_rows)                                                 \
  namespace name {                                                                                           \
  using K = Kernels<width, tile_rows>;                                                                       \
  target void pack_b(bool transposed, const FloatRows& b, int64_t k, int64_t n, float alpha, float* panel) { \
    K::pack_b(transposed, b, k, n, alpha, panel);                                                            \
  }                                                                                                          \
  target void pack_transposed_a(const FloatRows& a, int64_t k, int64_t m, int64_t panel_stride,              \
                                float* panels) {                                                             \
    K::pack_transposed_a(a, k, m, panel_stride, panels);                                                     \
  }                                                                                                          \
  target void multiply(int64_t m, int64_t n, int64_t k, const FloatRows& a, const float* panel,              \
                       const FloatRows& start, float* c, int64_t stride_c) {                                 \
    K::multiply<K::InPlace>(m, n, k, a, panel, start, c, stride_c);                                          \
  }                                                                                                          \
  target void multiply_panels(int64_t m, int64_t n, int64_t k, const FloatRows& a, const float* panel,       \
                              const FloatRows& start, float* c, int64_t stride_c) {                          \
    K::multiply<K::InPanels>(m, n, k, a, panel, start, c, stride_c);                                         \
  }                                                                                                          \
  constexpr GemmKernels kTable = {K::kRows,        K::kColumns,        pack_b, pack_transposed_a, multiply,  \
                                  multiply_panels, multiply_few_##name};                                     \
  }

#if defined(__aarch64__)
TRIREME_GEMM_KERNELS(neon, , 4, 8)  // 32 registers hold 24 sums, a row of b and numbers of a
namespace narrowest = neon;
#else
TRIREME_GEMM_KERNELS(sse, , 4, 4)
namespace narrowest = sse;
#endif
#ifndef TRIREME_ONE_VERSION
TRIREME_GEMM_KERNELS(avx2, __attribute__((target("arch=x86-64-v3"))), 8, 4)
TRIREME_GEMM_KERNELS(avx512, __attribute__((target("arch=x86-64-v4"))), 16, 8)
#endif

std::vector<const GemmKernels*> find_kernels() {
  std::vector<const GemmKernels*> found{&narrowest::kTable};
#ifndef TRIREME_ONE_VERSION
  if (has_x86_64_v3()) found.push_back(&avx2::kTable);
  if (has_x86_64_v4()) found.push_back(&avx512::kTable);
#endif
  return found;
}

}  // namespace

std::span<const GemmKernels* const> all_gemm_kernels() {
  static const std::vector<const GemmKernels*> all = find_kernels();
  return all;
}

}  // namespace trireme::ops::cpu
