// Matrix products by cuBLASLt.
#pragma once

#include "runtime/ops/gemm.h"

namespace trireme::ops::cuda {

/// c[M,N] = alpha * op(a)[M,K] · op(b)[K,N] (+ bias) (+ c), sums in fp32.
struct Matmul {
  GemmOptions options;
  Columns a;  ///< a and b of one compute type, or of 8-bit types
  Tensor b;
  Tensor bias;              ///< [N] of c's type, or absent
  Columns c;                ///< of a's type or f32; of 8-bit matrices any compute type
  Tensor scale_a, scale_b;  ///< [1] f32, of 8-bit matrices: what a unit of their codes stands for
};

/// No dim is 0. Throws EnvironmentError where cuBLASLt knows no way.
void matmul(Context& ctx, const Matmul& product);

}  // namespace trireme::ops::cuda
