#include "models/transformer/block.h"

#include <utility>

#include "runtime/ops/elementwise.h"

namespace trireme {

struct TransformerBlock::State {
  Saved attention_norm, attention, attention_post_norm, ffn_norm, ffn, ffn_post_norm;
};

namespace {

// x, or what the norm that there is makes of it.
Tensor normed(Context& ctx, const std::optional<Norm>& norm, const Tensor& x, Saved& saved) {
  return norm ? norm->forward(ctx, x, Tensor(), saved).y : x;
}
Tensor normed_backward(Context& ctx, const std::optional<Norm>& norm, const Tensor& dy, Saved& saved) {
  return norm ? norm->backward(ctx, dy, Tensor(), saved) : dy;
}

// The gradient of what a norm (where there is one) and, past it, a residual path take: dpath comes from the
// path, dy from what is behind the norm, and is nobody else's.
Tensor joined(Context& ctx, const std::optional<Norm>& norm, const Tensor& dy, const Tensor& dpath,
              Saved& saved) {
  if (norm) return norm->backward(ctx, dy, dpath, saved);
  ops::add(ctx, dy, dpath, dy);
  return dy;
}

}  // namespace

TransformerBlock::TransformerBlock(const BlockSpec& spec, std::shared_ptr<BlockParameters> parameters,
                                   int64_t index, const Tensor& rotary, const TensorParallel& tensor,
                                   const ContextParallel& context, const ExpertParallel& experts,
                                   bool recomputes_attention, const MatmulPolicies& matmul)
    : index_(index),
      parameters_(std::move(parameters)),
      side_by_side_(spec.parallel_residual),
      mixer_(spec, parameters_, index, rotary, tensor, context, recomputes_attention, matmul) {
  if (spec.norms_before()) {
    attention_norm_.emplace(spec.norm, part_of(parameters_, parameters_->attention_norm));
    ffn_norm_.emplace(spec.norm, part_of(parameters_, parameters_->ffn_norm));
  }
  if (spec.norms_after()) {
    attention_post_norm_.emplace(spec.norm, part_of(parameters_, parameters_->attention_post_norm));
    ffn_post_norm_.emplace(spec.norm, part_of(parameters_, parameters_->ffn_post_norm));
  }
  if (spec.mixture) {
    experts_.emplace(*spec.mixture, part_of(parameters_, *parameters_->mixture),
                     RouterPlace{router_name(index), index}, tensor, context, experts, matmul);
  } else {
    ffn_.emplace(spec.feed_forward, part_of(parameters_, *parameters_->feed_forward), tensor, matmul);
  }
}

Tensor TransformerBlock::attend(Context& ctx, const MicroBatch& mb, const Tensor& x, State& state) {
  const Tensor taken = normed(ctx, attention_norm_, x, state.attention_norm);
  const Tensor made = mixer_.forward(ctx, mb, taken, state.attention);
  return normed(ctx, attention_post_norm_, made, state.attention_post_norm);
}

// x is what the part takes.
Tensor TransformerBlock::feed_forward(Context& ctx, const MicroBatch& mb, const Tensor& x, State& state) {
  const Tensor made = with_ffn([&](auto& ffn) { return ffn.forward(ctx, mb, x, state.ffn); });
  return normed(ctx, ffn_post_norm_, made, state.ffn_post_norm);
}

Tensor TransformerBlock::forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) {
  auto& state = saved.emplace<State>();
  if (side_by_side_) return forward_side_by_side(ctx, mb, x, state);
  const Tensor attended = attend(ctx, mb, x, state);
  Norm::Output sum{attended, attended};
  if (ffn_norm_) {
    sum = ffn_norm_->forward(ctx, attended, x, state.ffn_norm);
  } else {
    ops::add(ctx, attended, x, attended);
  }
  const Tensor out = feed_forward(ctx, mb, sum.y, state);
  ops::add(ctx, out, sum.sum, out);
  return out;
}

void TransformerBlock::store(Context& ctx, const TokenBatch& batch, const Tensor& x) {
  Saved dropped;
  mixer_.store(ctx, batch, normed(ctx, attention_norm_, x, dropped));
}

Tensor TransformerBlock::backward_input(Context& ctx, const Tensor& dy, Saved& saved) {
  auto& state = saved.get<State>();
  if (side_by_side_) return backward_side_by_side(ctx, dy, state);
  const Tensor dout = normed_backward(ctx, ffn_post_norm_, dy, state.ffn_post_norm);
  const Tensor dtaken = with_ffn([&](auto& ffn) { return ffn.backward_input(ctx, dout, state.ffn); });
  const Tensor dsum = joined(ctx, ffn_norm_, dtaken, dy, state.ffn_norm);
  const Tensor dattended = normed_backward(ctx, attention_post_norm_, dsum, state.attention_post_norm);
  const Tensor dnormed = mixer_.backward_input(ctx, dattended, state.attention);
  return joined(ctx, attention_norm_, dnormed, dsum, state.attention_norm);
}

Tensor TransformerBlock::forward_side_by_side(Context& ctx, const MicroBatch& mb, const Tensor& x,
                                              State& state) {
  const Tensor attended = attend(ctx, mb, x, state);
  const Tensor out = feed_forward(ctx, mb, normed(ctx, ffn_norm_, x, state.ffn_norm), state);
  ops::add(ctx, out, attended, out);
  ops::add(ctx, out, x, out);
  return out;
}

Tensor TransformerBlock::backward_side_by_side(Context& ctx, const Tensor& dy, State& state) {
  const Tensor dtaken = with_ffn([&](auto& ffn) { return ffn.backward_input(ctx, dy, state.ffn); });
  const Tensor dsum = joined(ctx, ffn_norm_, dtaken, dy, state.ffn_norm);
  const Tensor dnormed = mixer_.backward_input(ctx, dy, state.attention);
  return joined(ctx, attention_norm_, dnormed, dsum, state.attention_norm);
}

void TransformerBlock::backward_weight(Context& ctx, Saved& saved) {
  auto& state = saved.get<State>();
  with_ffn([&](auto& ffn) { ffn.backward_weight(ctx, state.ffn); });
  mixer_.backward_weight(ctx, state.attention);
  saved.clear();
}

void TransformerBlock::collect_statistics(std::vector<LayerStatistics*>& statistics) {
  if (experts_) statistics.push_back(&experts_->balance());
}

}  // namespace trireme
