// Innermost loops of products with panels of 16-bit weights (float_layout.h), for processors with AVX-512
// or NEON.
#pragma once

#include "runtime/base/half.h"
#include "runtime/ops/cpu/gemm/gemm_kernels.h"

namespace trireme::ops::cpu {

/// c[m, n] = start + a[m, k] · panel[k, n] for few rows, as GemmKernels::multiply: the same bits as with the
/// panel in fp32, whose weights exist in registers alone.
struct WideningKernels {
  /// Of pairs of bf16. k may be odd.
  void (*pairs)(int64_t m, int64_t n, int64_t k, const FloatRows& a, const bf16* panel,
                const FloatRows& start, float* c, int64_t stride_c);
  void (*halves)(int64_t m, int64_t n, int64_t k, const FloatRows& a, const fp16* panel,
                 const FloatRows& start, float* c, int64_t stride_c);
};
/// Null where the machine lacks the instructions.
const WideningKernels* widening_kernels();

}  // namespace trireme::ops::cpu
