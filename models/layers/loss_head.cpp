#include "models/layers/loss_head.h"

#include <algorithm>
#include <utility>

#include "runtime/ops/elementwise.h"
#include "runtime/ops/training/state_distance.h"

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
                   const LossConfig& config, const MatmulPolicies& matmul, std::shared_ptr<ExitStreams> exits)
    : config_(config),
      tensor_(tensor),
      head_(spec, std::move(parameters), tied_to, tensor, matmul),
      objective_(std::move(objective)),
      exits_(std::move(exits)) {}

namespace {

// Of rows [begin, end).
RowTargets targets_of(Context& ctx, const MicroBatch& mb, int64_t begin, int64_t end) {
  RowTargets rows = RowTargets{mb.targets, mb.target_weights}.slice(begin, end);
  if (mb.teacher) rows.teacher = mb.teacher->rows(ctx, begin, end);
  return rows;
}

}  // namespace

int64_t LossHead::rows_at_once(const MicroBatch& mb, DType dtype) const {
  return config_.rows_at_once(mb.rows(), head_.bytes_a_row(dtype), mb.teacher != nullptr);
}

bool LossHead::matches_states(const MicroBatch& mb) const {
  return mb.teacher != nullptr && objective_->states_weight() > 0;
}

// Every rank has all rows' distances, for sums that are equal; one of them adds their gradient to its term.
void LossHead::match_states(Context& ctx, const MicroBatch& mb, const RowTargets& targets, const Tensor& y,
                            const Tensor& dy) const {
  const Tensor& states = targets.teacher.states;
  TRIREME_CHECK(states && states.shape() == y.shape(), "a teacher's states are {}, a student's {}",
                states ? to_string(states.shape()) : "absent", to_string(y.shape()));
  const Tensor distances = Tensor::empty(ctx, {y.dim(0)}, DType::f32);
  ops::state_distance(ctx, y, states, targets.ids, targets.weights,
                      {static_cast<float>(objective_->states_weight()), mb.gradient_scale}, distances,
                      tensor_.rank() == 0 ? dy : Tensor());
  if (mb.added_sum) ops::add_sum(ctx, distances, mb.added_sum);
}

Tensor LossHead::forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) {
  auto& state = saved.emplace<State>();
  if (exits_ && exits_->keeps(mb)) {
    state.in_parts = true;
    state.micro_batch = mb;
    state.y = head_.norm(ctx, exits_->join(ctx, mb, x), state.head);
    return Tensor();
  }
  const Tensor y = head_.norm(ctx, x, state.head);
  if (matches_states(mb) || rows_at_once(mb, y.dtype()) < mb.rows()) {
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
  objective_->apply(ctx, tensor_, logits, targets_of(ctx, mb, 0, mb.rows()), mb.gradient_scale,
                    {mb.loss_sum, mb.added_sum}, state.dlogits);
  return Tensor();
}

// In training the gradient of y, and that of the matrix is added to; else undefined.
Tensor LossHead::run_in_parts(Context& ctx, const MicroBatch& mb, const Tensor& y) const {
  const int64_t rows = mb.rows(), at_once = rows_at_once(mb, y.dtype());
  const bool sharded_rows = tensor_.shards_rows(mb);
  const Tensor all = tensor_.gather(ctx, y, sharded_rows);
  const Tensor dy = mb.training ? Tensor::empty(ctx, all.shape(), all.dtype()) : Tensor();
  const WeightView forward = head_.weight_of_forward(ctx);
  const WeightView backward = mb.training ? head_.weight_of_backward(ctx) : WeightView();
  for (int64_t begin = 0; begin < rows; begin += at_once) {
    const int64_t end = std::min(rows, begin + at_once);
    const Tensor part = all.slice(begin, end);
    const RowLogits logits = head_.logits_of_rows(ctx, part, forward);
    RowTargets targets = targets_of(ctx, mb, begin, end);
    objective_->apply(ctx, tensor_, logits, targets, mb.gradient_scale, {mb.loss_sum, mb.added_sum},
                      mb.training ? logits.columns : ops::Columns());
    targets.teacher.logits = {};
    const Tensor dy_part = mb.training ? dy.slice(begin, end) : Tensor();
    if (mb.training) head_.backward_of_rows(ctx, logits.columns, part, backward, dy_part);
    if (matches_states(mb)) match_states(ctx, mb, targets, part, dy_part);
  }
  return mb.training ? tensor_.reduce(ctx, dy, sharded_rows) : Tensor();
}

// The same of the stream and those of exits behind it. What exits cost is no part of the loss that is shown.
Tensor LossHead::run_streams(Context& ctx, const MicroBatch& mb, const Tensor& y) const {
  const int64_t rows = y.dim(0) / (1 + exits_->slots());
  const Tensor dy = Tensor::empty(ctx, y.shape(), y.dtype());
  MicroBatch seen = mb;
  for (int64_t stream = 0; stream <= exits_->slots(); ++stream) {
    const int64_t begin = stream * rows, end = begin + rows;
    ops::copy(ctx, run_in_parts(ctx, seen, y.slice(begin, end)), dy.slice(begin, end));
    if (stream == exits_->slots()) break;
    seen.loss_sum = mb.added_sum;
    seen.target_weights = exits_->weights(ctx, mb, stream);
  }
  return dy;
}

Tensor LossHead::backward_input(Context& ctx, const Tensor&, Saved& saved) {
  auto& state = saved.get<State>();
  Tensor dy;
  if (state.in_parts && exits_ && exits_->keeps(state.micro_batch)) {
    const MicroBatch mb = std::exchange(state.micro_batch, {});
    dy = run_streams(ctx, mb, std::exchange(state.y, {}));
    return exits_->split_gradient(mb.first_sample, head_.norm_backward(ctx, dy, state.head));
  }
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
