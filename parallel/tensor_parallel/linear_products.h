// The three products of a linear layer, in the type of its tensors or in 8-bit floating point.
#pragma once

#include "runtime/ops/gemm.h"

namespace trireme {

/// Shapes and types as in ops::linear and its backward forms. Where `float8` says so, the operands of each
/// product are quantized first with a scale a tensor: activations and weights to E4M3, gradients to E5M2
/// (arXiv 2209.05433); sums, biases and results stay as they are. Then y and dy have to be whole matrices.
struct LinearProducts {
  bool float8 = false;

  void forward(Context& ctx, const Tensor& x, const Tensor& w, const Tensor& bias,
               const ops::Columns& y) const;
  void forward_gelu(Context& ctx, const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& h,
                    const Tensor& y) const;
  void backward_input(Context& ctx, const ops::Columns& dy, const Tensor& w, const Tensor& dx) const;
  void backward_input_gelu(Context& ctx, const Tensor& dy, const Tensor& w, const Tensor& h,
                           const Tensor& dh) const;
  void backward_weight(Context& ctx, const ops::Columns& dy, const Tensor& x, const Tensor& dw,
                       const Tensor& dbias) const;
};

}  // namespace trireme
