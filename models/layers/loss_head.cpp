#include "models/layers/loss_head.h"

#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

struct LossHeadState {
  Saved norm, linear;
  Tensor dlogits;
};

ParameterBlock head_block(const ModelConfig& c, bool tied) {
  if (tied) return {};
  return single("head.weight", {c.vocab_size, c.hidden_size}, 0.0f, static_cast<float>(c.init_std));
}

}  // namespace

LossHead::LossHead(const ModelConfig& config, const ParameterBlock* tied_to)
    : norm_(config, "final_norm"),
      own_weight_(head_block(config, tied_to != nullptr)),
      weight_(tied_to != nullptr ? tied_to : &own_weight_),
      linear_(*weight_, no_bias_) {}

Tensor LossHead::forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) {
  auto& state = saved.emplace<LossHeadState>();
  const Tensor y = norm_.forward(ctx, x, Tensor(), state.norm).y;
  const Tensor logits = linear_.forward(ctx, y, state.linear);
  const Tensor loss = Tensor::empty(ctx, {mb.rows()}, DType::f32);
  if (mb.training) state.dlogits = logits;
  ops::cross_entropy(ctx, logits, mb.targets, mb.gradient_scale, loss, state.dlogits);
  if (mb.loss_sum) ops::add_sum(ctx, loss, mb.loss_sum);
  return Tensor();
}

Tensor LossHead::backward_input(Context& ctx, const Tensor&, Saved& saved) {
  auto& state = saved.get<LossHeadState>();
  const Tensor dy = linear_.backward_input(ctx, state.dlogits, state.linear);
  state.dlogits = Tensor();
  return norm_.backward(ctx, dy, Tensor(), state.norm);
}

void LossHead::backward_weight(Context& ctx, Saved& saved) {
  linear_.backward_weight(ctx, saved.get<LossHeadState>().linear);
  saved.clear();
}

void LossHead::collect(std::vector<ParameterBlock*>& blocks) {
  norm_.collect(blocks);
  if (own_weight_) blocks.push_back(&own_weight_);
}

void LossHead::collect_shared(std::vector<const ParameterBlock*>& blocks) const {
  if (weight_ != &own_weight_) blocks.push_back(weight_);
}

Tensor LossHead::logits(Context& ctx, const Tensor& x) const {
  Saved norm, linear;
  return linear_.forward(ctx, norm_.forward(ctx, x, Tensor(), norm).y, linear);
}

}  // namespace trireme
