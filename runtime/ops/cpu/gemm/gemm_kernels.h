// The innermost loops of fp32 products, for the instruction set of the machine.
#pragma once

#include <cstdint>
#include <span>

namespace trireme::ops::cpu {

/// Rows of fp32 numbers, `stride` elements apart.
struct FloatRows {
  const float* data = nullptr;
  int64_t stride = 0;
};

/// c[m, n] = start + alpha * a[m, k] · b[n, k]^T of any n, both read where they lie. What `depth` inner
/// columns add up to meets c at once.
struct FewRowsProduct {
  int64_t m, n, k, depth;
  FloatRows a, b;
  float alpha;
  const float* start;  ///< [n], or null: zero
  float* c;
  int64_t stride_c;
};

/// What a product of [m, k] by [k, n] is put together from. All functions run on the calling thread. Of one
/// machine, every element of c receives the same additions in the same order wherever it lies in its tile, so
/// that bits do not depend on how a matrix is cut into tiles.
struct GemmKernels {
  int64_t rows;     ///< of a tile, and of a panel of a
  int64_t columns;  ///< of a panel of b

  /// panel[k, columns] = alpha * b, zero from column n on; b is [k, n], or [n, k] where it is transposed.
  void (*pack_b)(bool transposed, const FloatRows& b, int64_t k, int64_t n, float alpha, float* panel);

  /// Panels [k, rows] of a transposed a[k, m] one after the other, each `panel_stride` floats after the
  /// last.
  void (*pack_transposed_a)(const FloatRows& a, int64_t k, int64_t m, int64_t panel_stride, float* panels);

  /// c[m, n] = start + a[m, k] · panel[k, n], n <= columns; start holds a row for each of c (with a stride of
  /// 0: one for all), or is absent: zero. a is read where it lies.
  void (*multiply)(int64_t m, int64_t n, int64_t k, const FloatRows& a, const float* panel,
                   const FloatRows& start, float* c, int64_t stride_c);

  /// The same with a in panels; a.stride is their distance.
  void (*multiply_panels)(int64_t m, int64_t n, int64_t k, const FloatRows& a, const float* panel,
                          const FloatRows& start, float* c, int64_t stride_c);

  /// A product of few rows.
  void (*multiply_few)(const FewRowsProduct& p);
};

/// Those that the machine can run, the widest vectors last.
std::span<const GemmKernels* const> all_gemm_kernels();

/// Those of the widest vectors that the machine has.
inline const GemmKernels& gemm_kernels() { return *all_gemm_kernels().back(); }

}  // namespace trireme::ops::cpu
