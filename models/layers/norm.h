// Norm: LayerNorm or RMSNorm, with the residual addition before it.
#pragma once

#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "parallel/module/saved.h"
#include "parallel/tensor_parallel/tensor_parallel.h"

namespace trireme {

class Norm {
 public:
  /// Parameters `name`.gain and, for a LayerNorm with biases, `name`.bias: whole on every tensor rank. Rows
  /// are independent, so that it may be any share of them that a rank normalises.
  Norm(const ModelConfig& config, const std::string& name, const TensorParallel& tensor);

  struct Output {
    Tensor sum;  ///< x + residual, or x
    Tensor y;    ///< the normalised sum
  };
  /// x, residual: [N,C]; residual may be undefined.
  Output forward(Context& ctx, const Tensor& x, const Tensor& residual, Saved& saved) const;
  /// The gradient of the sum: through the norm from dy, plus dsum, which reaches the sum by the residual path
  /// (may be undefined). Adds to the parameters' gradients and clears `saved`: a norm's weight pass is too
  /// small to be worth splitting off.
  Tensor backward(Context& ctx, const Tensor& dy, const Tensor& dsum, Saved& saved) const;

  void collect(std::vector<ParameterBlock*>& blocks);

 private:
  NormKind kind_;
  float eps_;
  ParameterBlock gain_;
  ParameterBlock bias_;
};

}  // namespace trireme
