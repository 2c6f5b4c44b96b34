// The three matrix products of a linear layer, in the type of its tensors or in FP8.
#pragma once

#include "parallel/module/weight_view.h"
#include "parallel/tensor_parallel/fake_quantization.h"
#include "runtime/ops/gemm/gemm.h"

namespace trireme {

/// How a layer multiplies, which is chosen for each when it is made.
struct MatmulPolicy {
  /// float8: the operands of each product are quantized first with a scale a tensor: activations and weights
  /// to E4M3, gradients to E5M2 (arXiv 2209.05433); sums, biases and results stay as they are. Then y and dy
  /// have to be whole matrices.
  WeightFormat operands = WeightFormat::plain;
  /// Of the weights, where operands are plain (QuantizedWeight).
  FakeQuantization quantization = {};

  friend bool operator==(const MatmulPolicy&, const MatmulPolicy&) = default;
};

/// Shapes and types as in ops::linear and its backward forms. A weight that comes in 8 bits is multiplied as
/// it is, with the other factor quantized to meet it, whatever the policy. Packed weights are for forward
/// products alone (CHECK), each part's outputs in columns of its own, and the policy does not count for them.
class LinearProducts {
 public:
  explicit LinearProducts(MatmulPolicy policy = {}) : policy_(policy) {}

  void forward(Context& ctx, const Tensor& x, const WeightView& w, const Tensor& bias,
               const ops::Columns& y) const;
  void forward_gelu(Context& ctx, const Tensor& x, const WeightView& w, const Tensor& bias, const Tensor& h,
                    const Tensor& y) const;
  void backward_input(Context& ctx, const ops::Columns& dy, const WeightView& w, const Tensor& dx) const;
  void backward_input_gelu(Context& ctx, const Tensor& dy, const WeightView& w, const Tensor& h,
                           const Tensor& dh) const;
  void backward_weight(Context& ctx, const ops::Columns& dy, const Tensor& x, const Tensor& dw,
                       const Tensor& dbias) const;

 private:
  bool is_plain(const WeightView& w) const {
    return policy_.operands == WeightFormat::plain && w.format == WeightFormat::plain;
  }

  MatmulPolicy policy_;
};

}  // namespace trireme
