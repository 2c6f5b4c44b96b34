#include "models/layers/linear.h"

#include "runtime/ops/gemm.h"

namespace trireme {

namespace {
struct LinearState {
  Tensor x, dy;
};
}  // namespace

Tensor Linear::forward(Context& ctx, const Tensor& x, Saved& saved) const {
  const Tensor y = Tensor::empty(ctx, {x.dim(0), weight_.weight.dim(0)}, x.dtype());
  ops::linear(ctx, x, weight_.weight, bias_.weight, y);
  saved.emplace<LinearState>().x = x;
  return y;
}

Tensor Linear::backward_input(Context& ctx, const Tensor& dy, Saved& saved) const {
  const Tensor dx = Tensor::empty(ctx, {dy.dim(0), weight_.weight.dim(1)}, dy.dtype());
  ops::linear_backward_input(ctx, dy, weight_.weight, dx);
  saved.get<LinearState>().dy = dy;
  return dx;
}

void Linear::backward_weight(Context& ctx, Saved& saved) const {
  const auto& state = saved.get<LinearState>();
  ops::linear_backward_weight(ctx, state.dy, state.x, weight_.gradient, bias_.gradient);
  saved.clear();
}

}  // namespace trireme
