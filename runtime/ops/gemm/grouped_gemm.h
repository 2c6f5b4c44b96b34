// Linear layers of many experts at once: runs of rows, each with a matrix of its own.
#pragma once

#include <span>

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// y[R,O] from x[R,I]: the first counts[0] rows are multiplied with the first matrix, and so on; y = x ·
/// w_e^T. w[E * O, I] holds the matrices one below the other. Counts may be 0 and sum to R; no row is padded.
/// x, w, y of one compute type; sums in fp32.
void grouped_linear(Context& ctx, const Tensor& x, std::span<const int64_t> counts, const Tensor& w,
                    const Tensor& y);
TRIREME_OP_BODIES(grouped_linear, Context& ctx, const Tensor& x, std::span<const int64_t> counts,
                  const Tensor& w, const Tensor& y)

/// dx[R,I] = dy[R,O] · w_e.
void grouped_linear_backward_input(Context& ctx, const Tensor& dy, std::span<const int64_t> counts,
                                   const Tensor& w, const Tensor& dx);
TRIREME_OP_BODIES(grouped_linear_backward_input, Context& ctx, const Tensor& dy,
                  std::span<const int64_t> counts, const Tensor& w, const Tensor& dx)

/// dw_e[O,I] += dy_e^T · x_e for every expert; dw[E * O, I] is f32. An expert without rows is left alone.
void grouped_linear_backward_weight(Context& ctx, const Tensor& dy, const Tensor& x,
                                    std::span<const int64_t> counts, const Tensor& dw);
TRIREME_OP_BODIES(grouped_linear_backward_weight, Context& ctx, const Tensor& dy, const Tensor& x,
                  std::span<const int64_t> counts, const Tensor& dw)

}  // namespace trireme::ops
