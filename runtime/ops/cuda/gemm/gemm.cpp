#include "runtime/ops/gemm/gemm.h"

#include "runtime/ops/activation.h"
#include "runtime/ops/cuda/gemm/matmul.h"
#include "runtime/ops/cuda/gemm/row_bias.h"
#include "runtime/ops/elementwise.h"

namespace trireme::ops::cuda {

void gemm(Context& ctx, const GemmOptions& options, const Columns& a, const Tensor& b, const Tensor& bias,
          const Columns& c) {
  const Tensor rounded_bias = in_type(ctx, bias, c.dtype());
  if ((options.transpose_a ? a.rows() : a.count) == 0) {
    return add_bias_alone(ctx, options.accumulate, rounded_bias, c);
  }
  matmul(ctx, {.options = options, .a = a, .b = b, .bias = rounded_bias, .c = c});
}

void linear_gelu(Context& ctx, const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& h,
                 const Tensor& y) {
  const GemmOptions options{.transpose_b = true};
  if (x.dim(1) > 0 && matmul_with_epilogue(ctx, {.options = options,
                                                 .a = x,
                                                 .b = w,
                                                 .bias = in_type(ctx, bias, y.dtype()),
                                                 .c = y,
                                                 .epilogue = Epilogue::gelu,
                                                 .aux = h})) {
    return;
  }
  cuda::gemm(ctx, options, x, w, bias, h);
  cuda::gelu(ctx, h, y);
}

void linear_backward_input_gelu(Context& ctx, const Tensor& dy, const Tensor& w, const Tensor& h,
                                const Tensor& dh) {
  if (dy.dim(1) > 0 && matmul_with_epilogue(ctx, {.options = {},
                                                  .a = dy,
                                                  .b = w,
                                                  .bias = {},
                                                  .c = dh,
                                                  .epilogue = Epilogue::gelu_backward,
                                                  .aux = h})) {
    return;
  }
  cuda::gemm(ctx, {}, dy, w, {}, dh);
  cuda::gelu_backward(ctx, h, dh, dh);
}

void linear_backward_weight(Context& ctx, const Columns& dy, const Tensor& x, const Tensor& dw,
                            const Tensor& dbias) {
  if (dy.rows() == 0 || dy.count == 0) return;
  const GemmOptions options{.transpose_a = true, .accumulate = true};
  if (dbias && dw.numel() > 0) {
    // The epilogue overwrites, and a gradient is added to.
    const Tensor sums = Tensor::empty(ctx, dbias.shape(), DType::f32, MemoryCategory::buffers);
    if (matmul_with_epilogue(ctx, {.options = options,
                                   .a = dy,
                                   .b = x,
                                   .bias = {},
                                   .c = dw,
                                   .epilogue = Epilogue::row_sums,
                                   .aux = sums})) {
      return cuda::accumulate(ctx, sums, dbias);
    }
  }
  if (dw.numel() > 0) cuda::gemm(ctx, options, dy, x, {}, dw);
  if (dbias) cuda::add_column_sums(ctx, dy, dbias);
}

}  // namespace trireme::ops::cuda
