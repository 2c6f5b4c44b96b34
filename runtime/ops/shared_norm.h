// RMSNorm of rows whose columns are shared by several ranks, as queries and keys pass through it in OLMo 2
// (arXiv 2501.00656): each way in two ops, with a sum over the ranks between them.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// squares[n] = the sum of squares of the rank's C columns of row n. x is of a compute type, squares one
/// column of f32.
void shared_norm_squares(Context& ctx, const Columns& x, const Columns& squares);
TRIREME_OP_BODIES(shared_norm_squares, Context& ctx, const Columns& x, const Columns& squares)

/// y[n] = x[n] * rstd[n] * gain, rstd = 1 / sqrt(squares / width + eps), where `squares` is summed over the
/// ranks and `width` is how many columns went into it. gain is [C] f32, rstd one column of f32, which may be
/// squares; y, like x, may be x only where no way back follows.
void shared_norm(Context& ctx, const Columns& x, const Columns& squares, int64_t width, const Tensor& gain,
                 float eps, const Columns& y, const Columns& rstd);
TRIREME_OP_BODIES(shared_norm, Context& ctx, const Columns& x, const Columns& squares, int64_t width,
                  const Tensor& gain, float eps, const Columns& y, const Columns& rstd)

/// sums[n] (one column of f32) = the sum over the rank's columns of dy gain x rstd; dgain ([C] f32) += the
/// sum over rows of dy x rstd.
void shared_norm_backward_sums(Context& ctx, const Columns& dy, const Columns& x, const Tensor& gain,
                               const Columns& rstd, const Columns& sums, const Tensor& dgain);
TRIREME_OP_BODIES(shared_norm_backward_sums, Context& ctx, const Columns& dy, const Columns& x,
                  const Tensor& gain, const Columns& rstd, const Columns& sums, const Tensor& dgain)

/// dx from dy and the sums over the ranks, `width` as above. dx may be dy.
void shared_norm_backward(Context& ctx, const Columns& dy, const Columns& x, const Tensor& gain,
                          const Columns& rstd, const Columns& sums, int64_t width, const Columns& dx);
TRIREME_OP_BODIES(shared_norm_backward, Context& ctx, const Columns& dy, const Columns& x, const Tensor& gain,
                  const Columns& rstd, const Columns& sums, int64_t width, const Columns& dx)

}  // namespace trireme::ops
