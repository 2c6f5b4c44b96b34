#include "models/layers/embedding.h"

#include "runtime/ops/embedding.h"

namespace trireme {

namespace {
struct EmbeddingState {
  Tensor tokens, positions, dy;
};
}  // namespace

Embedding::Embedding(const ModelConfig& c)
    : tokens_(single("embedding.tokens.weight", {c.vocab_size, c.hidden_size}, 0.0f,
                     static_cast<float>(c.init_std))) {
  if (c.positions == PositionKind::learned) {
    positions_ = single("embedding.positions.weight", {c.max_positions, c.hidden_size}, 0.0f,
                        static_cast<float>(c.init_std));
  }
}

Tensor Embedding::forward(Context& ctx, const MicroBatch& mb, const Tensor&, Saved& saved) {
  const Tensor out = Tensor::empty(ctx, {mb.rows(), tokens_.weight.dim(1)}, tokens_.weight.dtype());
  ops::embedding(ctx, mb.tokens, tokens_.weight, positions_ ? mb.positions : Tensor(), positions_.weight,
                 out);
  saved.emplace<EmbeddingState>() = {mb.tokens, mb.positions, Tensor()};
  return out;
}

Tensor Embedding::backward_input(Context&, const Tensor& dy, Saved& saved) {
  saved.get<EmbeddingState>().dy = dy;
  return Tensor();
}

void Embedding::backward_weight(Context& ctx, Saved& saved) {
  const auto& state = saved.get<EmbeddingState>();
  ops::embedding_backward(ctx, state.tokens, state.dy, tokens_.gradient);
  if (positions_) ops::embedding_backward(ctx, state.positions, state.dy, positions_.gradient);
  saved.clear();
}

void Embedding::collect(std::vector<ParameterBlock*>& blocks) {
  blocks.push_back(&tokens_);
  if (positions_) blocks.push_back(&positions_);
}

}  // namespace trireme
