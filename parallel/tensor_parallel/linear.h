// Tensor-parallel linear layers y = x W^T + b (arXiv 1909.08053, section 3).
#pragma once

#include "parallel/module/saved.h"
#include "parallel/tensor_parallel/linear_products.h"
#include "parallel/tensor_parallel/tensor_parallel.h"

namespace trireme {

/// Sharded by outputs: each rank holds rows of W and entries of b, and makes its columns of y for all rows.
/// x and dx lie in the outer region (TensorParallel), y and dy in the inner. Works on blocks that somebody
/// else owns, so that a tied head can use the embedding's. `bias` may be an empty block; `scales` are learned
/// ones of the policy's quantization.
class ColumnParallelLinear {
 public:
  ColumnParallelLinear(const TensorParallel& tensor, const ParameterBlock& weight, const ParameterBlock& bias,
                       const MatmulPolicy& policy = {}, const ParameterBlock* scales = nullptr)
      : tensor_(tensor),
        weight_(weight),
        bias_(bias),
        quantized_(weight, policy.quantization, scales),
        products_(policy) {}
  ColumnParallelLinear(const ColumnParallelLinear&) = delete;
  ColumnParallelLinear& operator=(const ColumnParallelLinear&) = delete;

  /// Keeps x: where rows are sharded only this rank's own, which the backward pass gathers again beside the
  /// product of the input gradient.
  Tensor forward(Context& ctx, const Tensor& x, bool sharded_rows, Saved& saved) const;
  /// The same into a y of the caller's: all rows, this rank's columns.
  void forward_into(Context& ctx, const Tensor& x, bool sharded_rows, const ops::Columns& y,
                    Saved& saved) const;
  /// h = the same and y = GELU(h), all rows and this rank's columns of both (ops::linear_gelu).
  void forward_gelu(Context& ctx, const Tensor& x, bool sharded_rows, const Tensor& h, const Tensor& y,
                    Saved& saved) const;
  /// Keeps dy for backward_weight.
  Tensor backward_input(Context& ctx, const ops::Columns& dy, Saved& saved) const;
  void backward_weight(Context& ctx, Saved& saved) const;

 private:
  void gather_rows(Context& ctx, const Tensor& x, bool sharded_rows, Saved& saved,
                   const TensorParallel::RowsProduct& use) const;

  TensorParallel tensor_;
  const ParameterBlock& weight_;
  const ParameterBlock& bias_;
  QuantizedWeight quantized_;
  LinearProducts products_;
};

/// Sharded by inputs: each rank holds columns of W and all of b, and turns its columns of x into one term of
/// y; the terms are summed. x and dx lie in the inner region, y and dy in the outer. The first rank adds the
/// bias to its term. The bias' gradient is whole on every rank, since all see all rows of dy.
class RowParallelLinear {
 public:
  RowParallelLinear(const TensorParallel& tensor, const ParameterBlock& weight, const ParameterBlock& bias,
                    const MatmulPolicy& policy = {}, const ParameterBlock* scales = nullptr)
      : tensor_(tensor),
        weight_(weight),
        bias_(bias),
        quantized_(weight, policy.quantization, scales),
        products_(policy) {}
  RowParallelLinear(const RowParallelLinear&) = delete;
  RowParallelLinear& operator=(const RowParallelLinear&) = delete;

  /// Keeps x.
  Tensor forward(Context& ctx, const Tensor& x, bool sharded_rows, Saved& saved) const;
  /// The x that is kept from now on. For layers that recompute x in the backward pass: an undefined tensor
  /// lets go of it, and before backward_weight it is given back.
  void keep_input(const Tensor& x, Saved& saved) const;
  /// Keeps dy for backward_weight.
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) const;
  /// The same where x is GELU(h): the gradient of h (ops::linear_backward_input_gelu).
  Tensor backward_input_gelu(Context& ctx, const Tensor& dy, const Tensor& h, Saved& saved) const;
  void backward_weight(Context& ctx, Saved& saved) const;

 private:
  TensorParallel tensor_;
  const ParameterBlock& weight_;
  const ParameterBlock& bias_;
  QuantizedWeight quantized_;
  LinearProducts products_;
};

}  // namespace trireme
