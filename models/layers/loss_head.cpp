#include "models/layers/loss_head.h"

#include <algorithm>
#include <utility>

namespace trireme {

struct LossHead::State {
  Head::Saved head;
  ops::Columns dlogits;
  // Where rows go through in parts:
  bool in_parts = false;
  MicroBatch micro_batch;
  Tensor y;
};

LossHead::LossHead(const HeadSpec& spec, std::shared_ptr<HeadParameters> parameters, ParameterBlock* tied_to,
                   const TensorParallel& tensor, std::shared_ptr<const Objective> objective,
                   const LossConfig& config, const MatmulPolicies& matmul)
    : config_(config),
      tensor_(tensor),
      head_(spec, std::move(parameters), tied_to, tensor, matmul),
      objective_(std::move(objective)) {}

Tensor LossHead::forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) {
  auto& state = saved.emplace<State>();
  const Tensor y = head_.norm(ctx, x, state.head);
  if (config_.rows_at_once(mb.rows(), head_.bytes_a_row(y.dtype())) < mb.rows()) {
    if (mb.training) {
      state.in_parts = true;
      state.micro_batch = mb;
      state.y = y;
    } else {
      run_in_parts(ctx, mb, y);
    }
    return Tensor();
  }
  const RowLogits logits = head_.logits(ctx, y, mb, state.head);
  if (mb.training) state.dlogits = logits.columns;
  objective_->apply(ctx, tensor_, logits, {mb.targets, mb.target_weights}, mb.gradient_scale,
                    {mb.loss_sum, mb.added_sum}, state.dlogits);
  return Tensor();
}

// In training the gradient of y, and that of the matrix is added to; else undefined.
Tensor LossHead::run_in_parts(Context& ctx, const MicroBatch& mb, const Tensor& y) const {
  const int64_t rows = mb.rows(), at_once = config_.rows_at_once(rows, head_.bytes_a_row(y.dtype()));
  const bool sharded_rows = tensor_.shards_rows(mb);
  const RowTargets targets{mb.targets, mb.target_weights};
  const Tensor all = tensor_.gather(ctx, y, sharded_rows);
  const Tensor dy = mb.training ? Tensor::empty(ctx, all.shape(), all.dtype()) : Tensor();
  const WeightView forward = head_.weight_of_forward(ctx);
  const WeightView backward = mb.training ? head_.weight_of_backward(ctx) : WeightView();
  for (int64_t begin = 0; begin < rows; begin += at_once) {
    const int64_t end = std::min(rows, begin + at_once);
    const Tensor part = all.slice(begin, end);
    const RowLogits logits = head_.logits_of_rows(ctx, part, forward);
    objective_->apply(ctx, tensor_, logits, targets.slice(begin, end), mb.gradient_scale,
                      {mb.loss_sum, mb.added_sum}, mb.training ? logits.columns : ops::Columns());
    if (mb.training) head_.backward_of_rows(ctx, logits.columns, part, backward, dy.slice(begin, end));
  }
  return mb.training ? tensor_.reduce(ctx, dy, sharded_rows) : Tensor();
}

Tensor LossHead::backward_input(Context& ctx, const Tensor&, Saved& saved) {
  auto& state = saved.get<State>();
  Tensor dy;
  if (state.in_parts) {
    dy = run_in_parts(ctx, std::exchange(state.micro_batch, {}), std::exchange(state.y, {}));
  } else {
    dy = head_.backward_input(ctx, state.dlogits, state.head);
    state.dlogits = {};
  }
  return head_.norm_backward(ctx, dy, state.head);
}

void LossHead::backward_weight(Context& ctx, Saved& saved) {
  auto& state = saved.get<State>();
  if (!state.in_parts) head_.backward_weight(ctx, state.head);
  saved.clear();
}

}  // namespace trireme
