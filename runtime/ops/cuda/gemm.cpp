#include "runtime/ops/gemm.h"

#include "runtime/ops/cuda/matmul.h"
#include "runtime/ops/cuda/row_bias.h"
#include "runtime/ops/elementwise.h"

namespace trireme::ops::cuda {

void gemm(Context& ctx, const GemmOptions& options, const Columns& a, const Tensor& b, const Tensor& bias,
          const Columns& c) {
  const Tensor rounded_bias = in_type(ctx, bias, c.dtype());
  if ((options.transpose_a ? a.rows() : a.count) == 0) {
    return add_bias_alone(ctx, options.accumulate, rounded_bias, c);
  }
  matmul(ctx, {options, a, b, rounded_bias, c, {}, {}});
}

}  // namespace trireme::ops::cuda
