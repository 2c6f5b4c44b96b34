// Linear: y = x W^T + b.
#pragma once

#include "parallel/module/parameter.h"
#include "parallel/module/saved.h"

namespace trireme {

/// Works on blocks that somebody else owns, so that a tied head can use the embedding's. `bias` may be an
/// empty block.
class Linear {
 public:
  Linear(const ParameterBlock& weight, const ParameterBlock& bias) : weight_(weight), bias_(bias) {}
  Linear(const Linear&) = delete;
  Linear& operator=(const Linear&) = delete;

  /// y[N,O] from x[N,I]; keeps x.
  Tensor forward(Context& ctx, const Tensor& x, Saved& saved) const;
  /// dx[N,I] from dy[N,O]; keeps dy for backward_weight.
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) const;
  void backward_weight(Context& ctx, Saved& saved) const;

 private:
  const ParameterBlock& weight_;
  const ParameterBlock& bias_;
};

}  // namespace trireme
