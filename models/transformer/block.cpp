#include "models/transformer/block.h"

#include <utility>

#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

struct BlockState {
  Saved attention_norm, attention, attention_post_norm, ffn_norm, ffn, ffn_post_norm;
};

}  // namespace

TransformerBlock::TransformerBlock(const BlockSpec& spec, std::shared_ptr<BlockParameters> parameters,
                                   int64_t index, const Tensor& rotary, const TensorParallel& tensor,
                                   const ContextParallel& context, const ExpertParallel& experts,
                                   bool recomputes_attention, const MatmulPolicies& matmul)
    : index_(index),
      parameters_(std::move(parameters)),
      attention_norm_(spec.norm, part_of(parameters_, parameters_->attention_norm)),
      attention_(spec.attention, part_of(parameters_, parameters_->attention), rotary, tensor, context,
                 recomputes_attention, matmul),
      ffn_norm_(spec.norm, part_of(parameters_, parameters_->ffn_norm)) {
  if (spec.norm_placement == NormPlacement::both) {
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

Tensor TransformerBlock::forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) {
  auto& state = saved.emplace<BlockState>();
  const Tensor normed = attention_norm_.forward(ctx, x, Tensor(), state.attention_norm).y;
  Tensor attended = attention_.forward(ctx, mb, normed, state.attention);
  if (attention_post_norm_)
    attended = attention_post_norm_->forward(ctx, attended, Tensor(), state.attention_post_norm).y;
  const auto [sum, normed_sum] = ffn_norm_.forward(ctx, attended, x, state.ffn_norm);
  Tensor out = with_ffn([&, &y = normed_sum](auto& ffn) { return ffn.forward(ctx, mb, y, state.ffn); });
  if (ffn_post_norm_) out = ffn_post_norm_->forward(ctx, out, Tensor(), state.ffn_post_norm).y;
  ops::add(ctx, out, sum, out);
  return out;
}

Tensor TransformerBlock::backward_input(Context& ctx, const Tensor& dy, Saved& saved) {
  auto& state = saved.get<BlockState>();
  const Tensor dout = ffn_post_norm_ ? ffn_post_norm_->backward(ctx, dy, Tensor(), state.ffn_post_norm) : dy;
  const Tensor dnormed_sum = with_ffn([&](auto& ffn) { return ffn.backward_input(ctx, dout, state.ffn); });
  const Tensor dsum = ffn_norm_.backward(ctx, dnormed_sum, dy, state.ffn_norm);
  const Tensor dattended =
      attention_post_norm_ ? attention_post_norm_->backward(ctx, dsum, Tensor(), state.attention_post_norm)
                           : dsum;
  const Tensor dnormed = attention_.backward_input(ctx, dattended, state.attention);
  return attention_norm_.backward(ctx, dnormed, dsum, state.attention_norm);
}

void TransformerBlock::backward_weight(Context& ctx, Saved& saved) {
  auto& state = saved.get<BlockState>();
  with_ffn([&](auto& ffn) { ffn.backward_weight(ctx, state.ffn); });
  attention_.backward_weight(ctx, state.attention);
  saved.clear();
}

void TransformerBlock::collect_statistics(std::vector<LayerStatistics*>& statistics) {
  if (experts_) statistics.push_back(&experts_->balance());
}

}  // namespace trireme
