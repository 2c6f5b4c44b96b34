// Products of bf16 with panels of pairs (float_layout.h) by the dot product of AVX512_BF16, in the order of
// oneDNN's: sums of pairs one after the other; those of `depth` inputs meet the others at once.
#pragma once

#include "runtime/base/half.h"
#include "runtime/ops/cpu/gemm/gemm_kernels.h"

namespace trireme::ops::cpu {

/// Rows a[m, k] (k perhaps odd) and a panel of n columns that they are multiplied by.
struct PairProduct {
  int64_t m, n, k;
  const bf16* a;
  int64_t stride_a;
  const bf16* panel;
};

struct PairDots {
  /// c[m, n] = start + a · panel; start as in GemmKernels::multiply.
  void (*multiply)(const PairProduct& p, const FloatRows& start, float* c, int64_t stride_c);
  /// y[n] = sums rounded to nearest even, by the processor's instruction: numbers below the smallest normal
  /// one become zero.
  void (*round)(const float* sums, int64_t n, bf16* y);
};
/// Null where the machine lacks the instructions, or multiplies bf16 faster by other ones (AMX).
const PairDots* pair_dots();

/// Inputs that are added up before they meet the others in a product with k of them.
inline int64_t pair_depth(int64_t k) { return k > 1024 ? 1024 : 512; }

/// Whether products with these have the bits of oneDNN's: found out once by comparing a few.
bool pair_dots_are_onednns();

}  // namespace trireme::ops::cpu
