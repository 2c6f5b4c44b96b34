#include "runtime/ops/cpu/gemm/few_rows_kernels.h"

#include <algorithm>

#include "runtime/ops/cpu/gemm/vector_square.h"

namespace trireme::ops::cpu {

namespace {

template <int kWidth>
struct FewRows {
  using Square = VectorSquare<kWidth>;
  using Vector = typename Square::Vector;

  // Rows of b: those from the last on are the last again.
  struct Operand {
    const float* data;
    int64_t stride, last;
    TRIREME_INLINE const float* row(int64_t j) const { return data + std::min(j, last) * stride; }
  };

  // c[kTile, n] = start + a · b^T for up to kWidth rows of b, each number a sum in the order of k.
  template <int kTile>
  TRIREME_INLINE static void tile(int64_t n, int64_t k, const FloatRows& a, const Operand& b, float alpha,
                                  const FloatRows& start, float* c, int64_t stride_c) {
    Vector sums[kTile] = {};
    int64_t i = 0;
    for (; i + kWidth <= k; i += kWidth) {
      Square square;
#pragma GCC unroll 16
      for (int j = 0; j < kWidth; ++j) {
        const float* from = b.row(j) + i;
        __builtin_prefetch(from + 8 * kWidth);
        square.rows[j] = alpha * *reinterpret_cast<const Vector*>(from);
      }
      square.transpose();
#pragma GCC unroll 16
      for (int x = 0; x < kWidth; ++x) {
#pragma GCC unroll 8
        for (int r = 0; r < kTile; ++r) sums[r] += a.data[r * a.stride + i + x] * square.rows[x];
      }
    }
    for (; i < k; ++i) {
      Vector values;
      for (int j = 0; j < kWidth; ++j) values[j] = alpha * b.row(j)[i];
#pragma GCC unroll 8
      for (int r = 0; r < kTile; ++r) sums[r] += a.data[r * a.stride + i] * values;
    }
#pragma GCC unroll 8
    for (int r = 0; r < kTile; ++r) {
      const float* from = start.data == nullptr ? nullptr : start.data + r * start.stride;
      float* to = c + r * stride_c;
      if (n == kWidth) {
        *reinterpret_cast<Vector*>(to) =
            from == nullptr ? sums[r] : *reinterpret_cast<const Vector*>(from) + sums[r];
        continue;
      }
      float last[kWidth];
      *reinterpret_cast<Vector*>(last) = sums[r];
      for (int64_t j = 0; j < n; ++j) to[j] = from == nullptr ? last[j] : from[j] + last[j];
    }
  }

  template <int kTile>
  TRIREME_INLINE static int64_t rows(int64_t row, int64_t m, int64_t n, int64_t k, const FloatRows& a,
                                     const Operand& b, float alpha, const FloatRows& start, float* c,
                                     int64_t stride_c) {
    for (; row + kTile <= m; row += kTile) {
      const FloatRows start_here = {start.data == nullptr ? nullptr : start.data + row * start.stride,
                                    start.stride};
      tile<kTile>(n, k, {a.data + row * a.stride, a.stride}, b, alpha, start_here, c + row * stride_c,
                  stride_c);
    }
    return row;
  }

  // Columns by columns, each from the first inner part to the last: memory is read in long runs.
  TRIREME_INLINE static void multiply(const FewRowsProduct& p) {
    for (int64_t j = 0; j < p.n; j += kWidth) {
      const int64_t columns = std::min<int64_t>(kWidth, p.n - j);
      float* c = p.c + j;
      FloatRows start = {p.start == nullptr ? nullptr : p.start + j, 0};
      for (int64_t i = 0; i < p.k; i += p.depth) {
        const int64_t k = std::min(p.depth, p.k - i);
        const FloatRows a = {p.a.data + i, p.a.stride};
        const Operand b = {p.b.data + j * p.b.stride + i, p.b.stride, columns - 1};
        int64_t row = 0;
        if constexpr (kWidth == 16) row = rows<8>(row, p.m, columns, k, a, b, p.alpha, start, c, p.stride_c);
        row = rows<4>(row, p.m, columns, k, a, b, p.alpha, start, c, p.stride_c);
        row = rows<2>(row, p.m, columns, k, a, b, p.alpha, start, c, p.stride_c);
        rows<1>(row, p.m, columns, k, a, b, p.alpha, start, c, p.stride_c);
        start = {c, p.stride_c};
      }
    }
  }
};

}  // namespace

#define TRIREME_FEW_ROWS(name, target, width) \
  target void multiply_few_##name(const FewRowsProduct& p) { FewRows<width>::multiply(p); }
#if defined(__aarch64__)
TRIREME_FEW_ROWS(neon, , 4)
#else
TRIREME_FEW_ROWS(sse, , 4)
#endif
#ifndef TRIREME_ONE_VERSION
TRIREME_FEW_ROWS(avx2, __attribute__((target("arch=x86-64-v3"))), 8)
TRIREME_FEW_ROWS(avx512, __attribute__((target("arch=x86-64-v4"))), 16)
#endif

}  // namespace trireme::ops::cpu
