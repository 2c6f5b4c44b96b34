#include "parallel/tensor_parallel/linear.h"

namespace trireme {

namespace {

struct LinearState {
  bool sharded_rows = false;
  Tensor x;
  ops::Columns dy;
  Tensor weight;      // where the gradients of learned scales need it
  WorkPtr gathering;  // of x, between backward_input and backward_weight
};

}  // namespace

Tensor ColumnParallelLinear::forward(Context& ctx, const Tensor& x, bool sharded_rows, Saved& saved) const {
  const int64_t num_rows = x.dim(0) * (sharded_rows ? tensor_.size() : 1);
  const Tensor y = Tensor::empty(ctx, {num_rows, weight_.view().num_outputs()}, x.dtype());
  forward_into(ctx, x, sharded_rows, y, saved);
  return y;
}

void ColumnParallelLinear::forward_into(Context& ctx, const Tensor& x, bool sharded_rows,
                                        const ops::Columns& y, Saved& saved) const {
  const WeightView w = quantized_.forward(ctx);
  gather_rows(ctx, x, sharded_rows, saved, [&](Part rows, const Tensor& values) {
    products_.forward(ctx, values, w, bias_.weight, y.slice(rows.begin, rows.end));
  });
}

void ColumnParallelLinear::forward_gelu(Context& ctx, const Tensor& x, bool sharded_rows, const Tensor& h,
                                        const Tensor& y, Saved& saved) const {
  const WeightView w = quantized_.forward(ctx);
  gather_rows(ctx, x, sharded_rows, saved, [&](Part rows, const Tensor& values) {
    products_.forward_gelu(ctx, values, w, bias_.weight, h.slice(rows.begin, rows.end),
                           y.slice(rows.begin, rows.end));
  });
}

void ColumnParallelLinear::gather_rows(Context& ctx, const Tensor& x, bool sharded_rows, Saved& saved,
                                       const TensorParallel::RowsProduct& use) const {
  auto& state = saved.emplace<LinearState>();
  state.sharded_rows = sharded_rows;
  state.x = x;
  tensor_.gather_product(ctx, x, sharded_rows, false, use);
}

Tensor ColumnParallelLinear::backward_input(Context& ctx, const ops::Columns& dy, Saved& saved) const {
  auto& state = saved.get<LinearState>();
  state.dy = dy;
  if (state.sharded_rows) {
    const Tensor own = state.x;
    state.x = Tensor::empty(ctx, {dy.rows(), own.dim(1)}, own.dtype());
    state.gathering = tensor_.group().all_gather_async(ctx.stream(), own, state.x);
  }
  state.weight = quantized_.kept();
  const WeightView w = quantized_.backward(ctx);
  const auto multiply = [&](Part rows, const Tensor& dx) {
    products_.backward_input(ctx, dy.slice(rows.begin, rows.end), w, dx);
  };
  return tensor_.reduce_product(ctx, {dy.rows(), weight_.view().num_inputs()}, dy.dtype(), state.sharded_rows,
                                multiply);
}

void ColumnParallelLinear::backward_weight(Context& ctx, Saved& saved) const {
  const auto& state = saved.get<LinearState>();
  if (state.gathering) state.gathering->wait();
  quantized_.add_gradient(ctx, state.weight, [&](const Tensor& dw) {
    products_.backward_weight(ctx, state.dy, state.x, dw, bias_.gradient);
  });
  saved.clear();
}

Tensor RowParallelLinear::forward(Context& ctx, const Tensor& x, bool sharded_rows, Saved& saved) const {
  auto& state = saved.emplace<LinearState>();
  state.sharded_rows = sharded_rows;
  state.x = x;
  const Tensor bias = tensor_.rank() == 0 ? bias_.weight : Tensor();
  const WeightView w = quantized_.forward(ctx);
  const auto multiply = [&](Part rows, const Tensor& y) {
    products_.forward(ctx, x.slice(rows.begin, rows.end), w, bias, y);
  };
  return tensor_.reduce_product(ctx, {x.dim(0), weight_.view().num_outputs()}, x.dtype(), sharded_rows,
                                multiply);
}

void RowParallelLinear::keep_input(const Tensor& x, Saved& saved) const { saved.get<LinearState>().x = x; }

Tensor RowParallelLinear::backward_input(Context& ctx, const Tensor& dy, Saved& saved) const {
  auto& state = saved.get<LinearState>();
  const int64_t num_rows = dy.dim(0) * (state.sharded_rows ? tensor_.size() : 1);
  const Tensor dx = Tensor::empty(ctx, {num_rows, weight_.view().num_inputs()}, dy.dtype());
  state.weight = quantized_.kept();
  const WeightView w = quantized_.backward(ctx);
  state.dy = tensor_.gather_product(ctx, dy, state.sharded_rows, true, [&](Part rows, const Tensor& values) {
    products_.backward_input(ctx, values, w, dx.slice(rows.begin, rows.end));
  });
  return dx;
}

Tensor RowParallelLinear::backward_input_gelu(Context& ctx, const Tensor& dy, const Tensor& h,
                                              Saved& saved) const {
  auto& state = saved.get<LinearState>();
  const Tensor dh = Tensor::empty(ctx, h.shape(), dy.dtype());
  state.weight = quantized_.kept();
  const WeightView w = quantized_.backward(ctx);
  state.dy = tensor_.gather_product(ctx, dy, state.sharded_rows, true, [&](Part rows, const Tensor& values) {
    products_.backward_input_gelu(ctx, values, w, h.slice(rows.begin, rows.end),
                                  dh.slice(rows.begin, rows.end));
  });
  return dh;
}

void RowParallelLinear::backward_weight(Context& ctx, Saved& saved) const {
  const auto& state = saved.get<LinearState>();
  quantized_.add_gradient(ctx, state.weight, [&](const Tensor& dw) {
    products_.backward_weight(ctx, state.dy, state.x, dw, bias_.gradient);
  });
  saved.clear();
}

}  // namespace trireme
