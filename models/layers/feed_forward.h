// FeedForward: the two-layer perceptron of a block, with GELU or SwiGLU. Its width is divided over the tensor
// ranks.
#pragma once

#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "parallel/tensor_parallel/linear.h"

namespace trireme {

class FeedForward {
 public:
  /// Parameters `name`.{up,down}.{weight,bias}; SwiGLU: `name`.{gate,up,down}.weight (and biases where the
  /// config has them).
  FeedForward(const ModelConfig& config, const std::string& name, const TensorParallel& tensor);

  Tensor forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) const;
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) const;
  void backward_weight(Context& ctx, Saved& saved) const;
  void collect(std::vector<ParameterBlock*>& blocks);

 private:
  ActivationKind activation_;
  ParameterBlock up_weight_, up_bias_, down_weight_, down_bias_;
  TensorParallel tensor_;
  ColumnParallelLinear up_;  // gate and up together for SwiGLU
  RowParallelLinear down_;
};

}  // namespace trireme
