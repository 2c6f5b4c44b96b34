#include "models/layers/loss_head.h"

#include <utility>

#include "parallel/tensor_parallel/vocabulary.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

struct LossHeadState {
  Saved norm, linear;
  ops::Columns dlogits;
};

}  // namespace

LossHead::LossHead(const HeadSpec& spec, HeadParameters parameters, const ParameterBlock* tied_to,
                   const TensorParallel& tensor)
    : soft_cap_(static_cast<float>(spec.soft_cap)),
      tensor_(tensor),
      norm_(spec.norm, std::move(parameters.norm)),
      own_(std::move(parameters.weight)),
      weight_(own_ ? &own_ : tied_to),
      linear_(tensor, *weight_, no_bias_) {}

Tensor LossHead::forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) {
  auto& state = saved.emplace<LossHeadState>();
  const Tensor y = norm_.forward(ctx, x, Tensor(), state.norm).y;
  const ops::Columns logits = empty_logits(ctx, tensor_, vocab_size(), mb.rows(), y.dtype());
  linear_.forward_into(ctx, y, tensor_.divides_rows(mb), logits, state.linear);
  const Tensor loss = Tensor::empty(ctx, {mb.rows()}, DType::f32);
  if (mb.training) state.dlogits = logits;
  vocabulary_cross_entropy(ctx, tensor_, vocab_size(), logits, mb.targets, mb.gradient_scale, loss,
                           state.dlogits, soft_cap_);
  if (mb.loss_sum) ops::add_sum(ctx, loss, mb.loss_sum);
  return Tensor();
}

Tensor LossHead::backward_input(Context& ctx, const Tensor&, Saved& saved) {
  auto& state = saved.get<LossHeadState>();
  const Tensor dy = linear_.backward_input(ctx, state.dlogits, state.linear);
  state.dlogits = {};
  return norm_.backward(ctx, dy, Tensor(), state.norm);
}

void LossHead::backward_weight(Context& ctx, Saved& saved) {
  linear_.backward_weight(ctx, saved.get<LossHeadState>().linear);
  saved.clear();
}

void LossHead::collect(std::vector<ParameterBlock*>& blocks) {
  norm_.collect(blocks);
  if (own_) blocks.push_back(&own_);
}

void LossHead::collect_shared(std::vector<const ParameterBlock*>& blocks) const {
  if (weight_ != &own_) blocks.push_back(weight_);
}

Tensor LossHead::logits(Context& ctx, const MicroBatch& mb, const Tensor& x) const {
  Saved norm, linear;
  const Tensor y = norm_.forward(ctx, x, Tensor(), norm).y;
  const Tensor logits = linear_.forward(ctx, y, tensor_.divides_rows(mb), linear);
  if (soft_cap_ > 0) ops::soft_cap(ctx, {logits, 0, logits.dim(1)}, soft_cap_);
  return gather_logits(ctx, tensor_, vocab_size(), logits);
}

}  // namespace trireme
