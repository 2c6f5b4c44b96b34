#include "parallel/module/recompute.h"

#include <utility>

namespace trireme {

namespace {
struct RecomputedState {
  MicroBatch micro_batch;
  Tensor x;
  Saved inner;  // empty until the backward pass
};
}  // namespace

Tensor Recomputed::forward(Context& ctx, const MicroBatch& micro_batch, const Tensor& x, Saved& saved) {
  Saved dropped;
  const Tensor y = layer_->forward(ctx, micro_batch, x, dropped);
  if (micro_batch.training) saved.emplace<RecomputedState>() = {micro_batch, x, {}};
  return y;
}

Tensor Recomputed::backward_input(Context& ctx, const Tensor& dy, Saved& saved) {
  auto& state = saved.get<RecomputedState>();
  MicroBatch again = std::exchange(state.micro_batch, {});
  again.loss_sum = again.added_sum = Tensor();  // counted by the first run
  layer_->forward(ctx, again, std::exchange(state.x, {}), state.inner);
  return layer_->backward_input(ctx, dy, state.inner);
}

void Recomputed::backward_weight(Context& ctx, Saved& saved) {
  layer_->backward_weight(ctx, saved.get<RecomputedState>().inner);
  saved.clear();
}

}  // namespace trireme
