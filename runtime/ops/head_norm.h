// RMSNorm of each head on its own, as queries and keys pass through it in Qwen3 (arXiv 2505.09388).
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// y[n,h] = x[n,h] * rstd[n,h] * gain, rstd = 1 / sqrt(mean of squares + eps), over the D elements of each of
/// H heads side by side: x and y are H*D columns of matrices of N rows, of one compute type, gain is [D] f32,
/// rstd [N,H] f32. The way back needs x and rstd: y may be x only where none follows.
void rms_norm_heads(Context& ctx, const Columns& x, const Tensor& gain, float eps, const Columns& y,
                    const Tensor& rstd);
TRIREME_OP_BODIES(rms_norm_heads, Context& ctx, const Columns& x, const Tensor& gain, float eps,
                  const Columns& y, const Tensor& rstd)

/// dx from dy; dgain ([D] f32) += the sum over rows and heads. dx may be dy.
void rms_norm_heads_backward(Context& ctx, const Columns& dy, const Columns& x, const Tensor& gain,
                             const Tensor& rstd, const Columns& dx, const Tensor& dgain);
TRIREME_OP_BODIES(rms_norm_heads_backward, Context& ctx, const Columns& dy, const Columns& x,
                  const Tensor& gain, const Tensor& rstd, const Columns& dx, const Tensor& dgain)

}  // namespace trireme::ops
