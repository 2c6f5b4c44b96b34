// Innermost loops of products of few rows with sparse panels of floats (float_layout.h), for processors with
// AVX-512 VBMI2: lines are expanded in registers alone.
#pragma once

#include "runtime/base/half.h"
#include "runtime/ops/cpu/gemm/gemm_kernels.h"
#include "runtime/ops/cpu/packed/sparse/sparse_panels.h"

namespace trireme::ops::cpu {

/// c[m, n] = start + a[m, k] · panel[k, n], m <= kFewSparseRows; the panel's next inputs are the stream's
/// next lines, which it passes over. start as in GemmKernels::multiply.
template <class T>
struct FewRows {
  int64_t m, n, k;
  const T* a;
  int64_t stride_a;
  FloatRows start;
  float* c;
  int64_t stride_c;
};
inline constexpr int64_t kFewSparseRows = 4;

/// The bits are those of the dense kernels.
struct FewRowsKernels {
  /// Of pairs of bf16, and of f32: those of WideningKernels and GemmKernels.
  void (*pairs)(const FewRows<float>& p, LineStream& lines);
  void (*floats)(const FewRows<float>& p, LineStream& lines);
  /// Those of PairDots; null where pair_dots() is.
  void (*dots)(const FewRows<bf16>& p, LineStream& lines);
};
/// Null where the machine lacks the instructions.
const FewRowsKernels* few_rows_kernels();

}  // namespace trireme::ops::cpu
