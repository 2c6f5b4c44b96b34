#include "parallel/tensor_parallel/linear.h"

#include "runtime/ops/gemm.h"

namespace trireme {

namespace {

struct LinearState {
  bool divided_rows = false;
  Tensor x, dy;
  WorkPtr gathering;  // of x, between backward_input and backward_weight
};

Tensor product(Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Tensor y = Tensor::empty(ctx, {x.dim(0), weight.dim(0)}, x.dtype());
  ops::linear(ctx, x, weight, bias, y);
  return y;
}

Tensor input_gradient(Context& ctx, const Tensor& dy, const Tensor& weight) {
  const Tensor dx = Tensor::empty(ctx, {dy.dim(0), weight.dim(1)}, dy.dtype());
  ops::linear_backward_input(ctx, dy, weight, dx);
  return dx;
}

}  // namespace

Tensor ColumnParallelLinear::forward(Context& ctx, const Tensor& x, bool divided_rows, Saved& saved) const {
  auto& state = saved.emplace<LinearState>();
  state.divided_rows = divided_rows;
  state.x = x;
  return product(ctx, tensor_.gather(ctx, x, divided_rows), weight_.weight, bias_.weight);
}

Tensor ColumnParallelLinear::backward_input(Context& ctx, const Tensor& dy, Saved& saved) const {
  auto& state = saved.get<LinearState>();
  state.dy = dy;
  if (state.divided_rows) {
    const Tensor own = state.x;
    state.x = Tensor::empty(ctx, {dy.dim(0), own.dim(1)}, own.dtype());
    state.gathering = tensor_.group().all_gather_async(ctx.stream(), own, state.x);
  }
  return tensor_.reduce(ctx, input_gradient(ctx, dy, weight_.weight), state.divided_rows);
}

void ColumnParallelLinear::backward_weight(Context& ctx, Saved& saved) const {
  const auto& state = saved.get<LinearState>();
  if (state.gathering) state.gathering->wait();
  ops::linear_backward_weight(ctx, state.dy, state.x, weight_.gradient, bias_.gradient);
  saved.clear();
}

Tensor RowParallelLinear::forward(Context& ctx, const Tensor& x, bool divided_rows, Saved& saved) const {
  auto& state = saved.emplace<LinearState>();
  state.divided_rows = divided_rows;
  state.x = x;
  const Tensor bias = tensor_.rank() == 0 ? bias_.weight : Tensor();
  return tensor_.reduce(ctx, product(ctx, x, weight_.weight, bias), divided_rows);
}

void RowParallelLinear::keep_input(const Tensor& x, Saved& saved) const { saved.get<LinearState>().x = x; }

Tensor RowParallelLinear::backward_input(Context& ctx, const Tensor& dy, Saved& saved) const {
  auto& state = saved.get<LinearState>();
  state.dy = tensor_.gather(ctx, dy, state.divided_rows);
  return input_gradient(ctx, state.dy, weight_.weight);
}

void RowParallelLinear::backward_weight(Context& ctx, Saved& saved) const {
  const auto& state = saved.get<LinearState>();
  ops::linear_backward_weight(ctx, state.dy, state.x, weight_.gradient, bias_.gradient);
  saved.clear();
}

}  // namespace trireme
