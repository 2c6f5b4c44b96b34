// Matrix products by cuBLASLt.
#pragma once

#include "runtime/ops/gemm/gemm.h"

namespace trireme::ops::cuda {

/// What is done with the sums before they are rounded to c's type.
enum class Epilogue {
  none,
  gelu,           ///< aux[M,N] = the sums (with the bias), c = GELU of them, not of aux
  gelu_backward,  ///< c = the sums * GELU'(aux[M,N])
  row_sums        ///< aux[M] = sums of op(a)'s rows; c as without: a bias' gradient beside its weight's
};

/// c[M,N] = alpha * op(a)[M,K] · op(b)[K,N] (+ bias) (+ c), sums in fp32.
struct Matmul {
  GemmOptions options;
  Columns a;  ///< a and b of one compute type, or of 8-bit types
  Tensor b;
  Tensor bias;                        ///< [N] of c's type, or absent
  Columns c;                          ///< of a's type or f32; of 8-bit matrices any compute type
  Tensor scale_a = {}, scale_b = {};  ///< [1] f32, of 8-bit matrices: what a unit of their codes stands for
  Epilogue epilogue = Epilogue::none;
  Tensor aux = {};  ///< of c's type, for an epilogue
};

/// No dim is 0. Throws EnvironmentError where cuBLASLt knows no way.
void matmul(Context& ctx, const Matmul& product);

/// The same for a product with an epilogue; returns false, having done nothing, where cuBLASLt has no
/// algorithm with it, or none that is worth it on this device.
bool matmul_with_epilogue(Context& ctx, const Matmul& product);

}  // namespace trireme::ops::cuda
