// Products of 8-bit matrices with a scale each (Micikevicius et al., arXiv 2209.05433): E4M3 for weights and
// activations, E5M2 for gradients.
#pragma once

#include "runtime/ops/gemm/gemm.h"

namespace trireme::ops {

/// A tensor of 8-bit codes and what one unit of them stands for: value = code * scale[0].
struct ScaledTensor {
  Tensor values;  ///< f8e4m3 or f8e5m2
  Tensor scale;   ///< [1] f32, a power of two
};

/// out.values = x / scale, rounded to nearest even, with the smallest power of two as scale for which the
/// largest |x| fits the type: the division is exact, and nothing saturates. x: a compute type. A NaN and,
/// other than in the type's own conversion, an infinity become NaN, so that no overflow hides; the scale is
/// then chosen for the finite values. All zeros: scale 1.
void quantize(Context& ctx, const Tensor& x, const ScaledTensor& out);
TRIREME_OP_BODIES(quantize, Context& ctx, const Tensor& x, const ScaledTensor& out)

/// y = x.values * x.scale, rounded to y's compute type; exact in bf16 and f32.
void dequantize(Context& ctx, const ScaledTensor& x, const Tensor& y);
TRIREME_OP_BODIES(dequantize, Context& ctx, const ScaledTensor& x, const Tensor& y)

/// c = alpha * op(a) · op(b) (+ bias) (+ c) as gemm; a and b of any of the two types, c of a compute type;
/// sums in fp32, c is rounded once. On the CPU the products are computed in bf16, which holds every value of
/// both types exactly.
void gemm_float8(Context& ctx, const GemmOptions& options, const ScaledTensor& a, const ScaledTensor& b,
                 const Tensor& bias, const Tensor& c);
TRIREME_OP_BODIES(gemm_float8, Context& ctx, const GemmOptions& options, const ScaledTensor& a,
                  const ScaledTensor& b, const Tensor& bias, const Tensor& c)

}  // namespace trireme::ops
