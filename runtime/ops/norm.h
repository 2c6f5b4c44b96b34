// LayerNorm (Ba et al., arXiv 1607.06450) and RMSNorm (Zhang & Sennrich, arXiv 1910.07467), fused with the
// residual addition that precedes them.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// sum = x + residual; y = (sum - mean) * rstd * gain + bias, rstd = 1 / sqrt(variance + eps), over each row
/// of C. x, residual, sum, y: [N,C] of one compute type; residual and sum absent together (then the sum is x
/// itself). gain, bias: [C] f32, bias may be absent. mean, rstd: [N] f32, kept for the backward pass.
void layer_norm(Context& ctx, const Tensor& x, const Tensor& residual, const Tensor& gain, const Tensor& bias,
                float eps, const Tensor& sum, const Tensor& y, const Tensor& mean, const Tensor& rstd);
TRIREME_OP_BODIES(layer_norm, Context& ctx, const Tensor& x, const Tensor& residual, const Tensor& gain,
                  const Tensor& bias, float eps, const Tensor& sum, const Tensor& y, const Tensor& mean,
                  const Tensor& rstd)

/// dx = gradient through the norm of dy, plus dsum (the gradient that reaches the sum by the residual path;
/// may be absent). sum is the normalised input, [N,C]. dgain and dbias ([C] f32, dbias may be absent) are
/// added to. dx may be dsum or dy.
void layer_norm_backward(Context& ctx, const Tensor& dy, const Tensor& dsum, const Tensor& sum,
                         const Tensor& gain, const Tensor& mean, const Tensor& rstd, const Tensor& dx,
                         const Tensor& dgain, const Tensor& dbias);
TRIREME_OP_BODIES(layer_norm_backward, Context& ctx, const Tensor& dy, const Tensor& dsum, const Tensor& sum,
                  const Tensor& gain, const Tensor& mean, const Tensor& rstd, const Tensor& dx,
                  const Tensor& dgain, const Tensor& dbias)

/// As layer_norm with y = sum * rstd * gain, rstd = 1 / sqrt(mean of squares + eps).
void rms_norm(Context& ctx, const Tensor& x, const Tensor& residual, const Tensor& gain, float eps,
              const Tensor& sum, const Tensor& y, const Tensor& rstd);
TRIREME_OP_BODIES(rms_norm, Context& ctx, const Tensor& x, const Tensor& residual, const Tensor& gain,
                  float eps, const Tensor& sum, const Tensor& y, const Tensor& rstd)

/// As layer_norm_backward.
void rms_norm_backward(Context& ctx, const Tensor& dy, const Tensor& dsum, const Tensor& sum,
                       const Tensor& gain, const Tensor& rstd, const Tensor& dx, const Tensor& dgain);
TRIREME_OP_BODIES(rms_norm_backward, Context& ctx, const Tensor& dy, const Tensor& dsum, const Tensor& sum,
                  const Tensor& gain, const Tensor& rstd, const Tensor& dx, const Tensor& dgain)

}  // namespace trireme::ops
