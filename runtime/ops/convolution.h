// Gated depthwise causal convolution: y_t = b_t * sum over k of w[k] * (a x)_{t-k}, each channel by itself.
#pragma once

#include "runtime/ops/attention/paged_attention.h"
#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// The most taps of one.
inline constexpr int64_t kMostTaps = 16;

/// Rows are runs of `length` consecutive tokens, one after the other; run r begins at row r * length.
struct ConvolutionShape {
  int64_t runs = 1;
  int64_t length = 1;
  int64_t width = 1;   ///< channels
  int64_t kernel = 1;  ///< taps, 1 to kMostTaps

  int64_t rows() const { return runs * length; }
  int64_t rows_before() const { return runs * (kernel - 1); }
};

/// u = a * x, rounded to the compute type: what the convolution takes. abx: 3 * width columns, a, b and x
/// side by side; u [rows, width].
void gated_inputs(Context& ctx, const Columns& abx, const Tensor& u);
TRIREME_OP_BODIES(gated_inputs, Context& ctx, const Columns& abx, const Tensor& u)

/// y_t = b_t * sum over k < kernel, k <= positions[t] of w[k] * u_{t-k}. u and y: [rows, width]; w [width,
/// kernel, 1] f32; positions [rows] i32: tokens of its own document before each. `before` [runs * (kernel -
/// 1), width]: the inputs before each run, the nearest last; absent: a run sees nothing before it.
void convolution(Context& ctx, const ConvolutionShape& shape, const Tensor& u, const Tensor& before,
                 const Columns& abx, const Tensor& w, const Tensor& positions, const Tensor& y);
TRIREME_OP_BODIES(convolution, Context& ctx, const ConvolutionShape& shape, const Tensor& u,
                  const Tensor& before, const Columns& abx, const Tensor& w, const Tensor& positions,
                  const Tensor& y)

/// The gradient of `before`, f32.
void convolution_backward_before(Context& ctx, const ConvolutionShape& shape, const Tensor& dy,
                                 const Columns& abx, const Tensor& w, const Tensor& positions,
                                 const Tensor& dbefore);
TRIREME_OP_BODIES(convolution_backward_before, Context& ctx, const ConvolutionShape& shape, const Tensor& dy,
                  const Columns& abx, const Tensor& w, const Tensor& positions, const Tensor& dbefore)

/// dabx, laid out as abx, and dw ([width, kernel, 1] f32) += its gradient. `dafter`, f32 as `before`: the
/// gradient of the last kernel - 1 inputs of each run by what lies behind it; absent: none. With it a run
/// has kernel - 1 rows at least.
void convolution_backward(Context& ctx, const ConvolutionShape& shape, const Tensor& dy, const Tensor& u,
                          const Tensor& before, const Columns& abx, const Tensor& w, const Tensor& positions,
                          const Tensor& dafter, const Columns& dabx, const Tensor& dw);
TRIREME_OP_BODIES(convolution_backward, Context& ctx, const ConvolutionShape& shape, const Tensor& dy,
                  const Tensor& u, const Tensor& before, const Columns& abx, const Tensor& w,
                  const Tensor& positions, const Tensor& dafter, const Columns& dabx, const Tensor& dw)

/// For inference: stores the inputs of the rows in `cache` [blocks, block_tokens, width] (as PagedRows has
/// it; of the compute type) and makes y of them and those that lie there at the places before. The bits of a
/// row depend on its inputs alone; on the CPU they are those of convolution() over the whole sequence.
void paged_convolution(Context& ctx, const PagedRows& rows, const Columns& abx, const Tensor& w,
                       const Tensor& cache, const Tensor& y);
TRIREME_OP_BODIES(paged_convolution, Context& ctx, const PagedRows& rows, const Columns& abx, const Tensor& w,
                  const Tensor& cache, const Tensor& y)

}  // namespace trireme::ops
