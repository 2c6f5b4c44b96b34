#include "runtime/ops/gemm.h"

#include "runtime/ops/cuda/matmul.h"
#include "runtime/ops/cuda/row_bias.h"
#include "runtime/ops/elementwise.h"

namespace trireme::ops::cuda {

void gemm(Context& ctx, const GemmOptions& options, const Tensor& a, const Tensor& b, const Tensor& bias,
          const Tensor& c) {
  const Tensor rounded_bias = in_type_of(ctx, bias, c);
  if (a.dim(options.transpose_a ? 0 : 1) == 0) {
    return add_bias_alone(ctx, options.accumulate, rounded_bias, c);
  }
  matmul(ctx, {options, a, b, rounded_bias, c, {}, {}});
}

}  // namespace trireme::ops::cuda
