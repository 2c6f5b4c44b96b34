// FeedForward: the two-layer perceptron of a block, with GELU or SwiGLU. Its width is sharded over the tensor
// ranks.
#pragma once

#include "models/layers/matmul_policies.h"
#include "models/spec/layer_parameters.h"
#include "models/spec/model_spec.h"
#include "parallel/tensor_parallel/linear.h"

namespace trireme {

class FeedForward {
 public:
  FeedForward(const FeedForwardSpec& spec, std::shared_ptr<FeedForwardParameters> parameters,
              const TensorParallel& tensor, const MatmulPolicies& matmul = {});

  Tensor forward(Context& ctx, const TokenBatch& batch, const Tensor& x, Saved& saved) const;
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) const;
  void backward_weight(Context& ctx, Saved& saved) const;
  void collect(ParameterBlocks& blocks) { parameters_->collect(blocks); }

 private:
  ActivationKind activation_;
  std::shared_ptr<FeedForwardParameters> parameters_;
  TensorParallel tensor_;
  ColumnParallelLinear up_;  // gate and up together
  RowParallelLinear down_;
};

}  // namespace trireme
