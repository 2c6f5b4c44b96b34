#include "models/layers/embedding.h"

namespace trireme {

namespace {
struct EmbeddingState {
  bool divided_rows = false;
  Tensor tokens, positions, dy;
};
}  // namespace

Embedding::Embedding(const ModelConfig& c, const TensorParallel& tensor)
    : tensor_(tensor),
      tokens_(single(tensor.divided("embedding.tokens.weight", {c.vocab_size, c.hidden_size}, 0, 0.0f,
                                    static_cast<float>(c.init_std)))) {
  if (c.positions == PositionKind::learned) {
    positions_ = single(tensor.copied("embedding.positions.weight", {c.max_positions, c.hidden_size}, 0.0f,
                                      static_cast<float>(c.init_std)));
  }
}

ops::TablePart Embedding::part() const {
  const Parameter& p = tokens_.members.front();
  return {p.offset[0], p.global_shape[0]};
}

Tensor Embedding::forward(Context& ctx, const MicroBatch& mb, const Tensor&, Saved& saved) {
  const Tensor out = Tensor::empty(ctx, {mb.rows(), tokens_.weight.dim(1)}, tokens_.weight.dtype());
  const bool adds_positions = positions_ && tensor_.rank() == 0;
  ops::embedding(ctx, mb.tokens, tokens_.weight, part(), adds_positions ? mb.positions : Tensor(),
                 adds_positions ? positions_.weight : Tensor(), out);
  const bool divided_rows = tensor_.divides_rows(mb);
  saved.emplace<EmbeddingState>() = {divided_rows, mb.tokens, mb.positions, Tensor()};
  return tensor_.reduce(ctx, out, divided_rows);
}

Tensor Embedding::backward_input(Context& ctx, const Tensor& dy, Saved& saved) {
  auto& state = saved.get<EmbeddingState>();
  state.dy = tensor_.gather(ctx, dy, state.divided_rows);
  return Tensor();
}

void Embedding::backward_weight(Context& ctx, Saved& saved) {
  const auto& state = saved.get<EmbeddingState>();
  ops::embedding_backward(ctx, state.tokens, state.dy, part(), tokens_.gradient);
  if (positions_) {
    ops::embedding_backward(ctx, state.positions, state.dy, {0, positions_.gradient.dim(0)},
                            positions_.gradient);
  }
  saved.clear();
}

void Embedding::collect(std::vector<ParameterBlock*>& blocks) {
  blocks.push_back(&tokens_);
  if (positions_) blocks.push_back(&positions_);
}

}  // namespace trireme
