// FeedForward: the two-layer perceptron of a block, with GELU or SwiGLU.
#pragma once

#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "models/layers/linear.h"

namespace trireme {

class FeedForward {
 public:
  /// Parameters `name`.{up,down}.{weight,bias}; SwiGLU: `name`.{gate,up,down}.weight (and biases where the
  /// config has them).
  FeedForward(const ModelConfig& config, const std::string& name);

  Tensor forward(Context& ctx, const Tensor& x, Saved& saved) const;
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) const;
  void backward_weight(Context& ctx, Saved& saved) const;
  void collect(std::vector<ParameterBlock*>& blocks);

 private:
  ActivationKind activation_;
  ParameterBlock up_weight_, up_bias_, down_weight_, down_bias_;
  Linear up_, down_;  // `up` is gate and up together for SwiGLU
};

}  // namespace trireme
