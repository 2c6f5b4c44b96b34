// Norm: LayerNorm or RMSNorm, with the residual addition before it.
#pragma once

#include "models/spec/layer_parameters.h"
#include "models/spec/model_spec.h"
#include "parallel/module/saved.h"
#include "runtime/device/context.h"

namespace trireme {

/// Where an op that computes more than this gradient adds it: thrown away where the block is frozen.
Tensor gradient_or_scratch(Context& ctx, const ParameterBlock& block);

class Norm {
 public:
  /// Rows are independent, so that it may be any share of them that a rank normalises.
  Norm(const NormSpec& spec, std::shared_ptr<NormParameters> parameters);

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

  void collect(ParameterBlocks& blocks) { parameters_->collect(blocks); }

 private:
  NormSpec spec_;
  std::shared_ptr<NormParameters> parameters_;
};

}  // namespace trireme
