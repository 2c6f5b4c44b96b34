#include "models/layers/embedding.h"

#include <utility>

#include "runtime/base/error.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/packed/packed_linear.h"

namespace trireme {

namespace {
struct EmbeddingState {
  bool sharded_rows = false;
  Tensor tokens, positions, dy;
};

Tensor scaled(Context& ctx, const Tensor& x, float factor) {
  const Tensor y = Tensor::empty(ctx, x.shape(), x.dtype());
  ops::copy(ctx, x, y);
  ops::scale(ctx, y, factor);
  return y;
}
}  // namespace

Embedding::Embedding(const EmbeddingSpec& spec, std::shared_ptr<EmbeddingParameters> parameters,
                     const TensorParallel& tensor, DType compute_type, const MatmulPolicies& matmul)
    : scale_(static_cast<float>(spec.scale)),
      compute_type_(compute_type),
      tensor_(tensor),
      parameters_(std::move(parameters)),
      table_(parameters_->tokens, matmul.of(parameters_->tokens).quantization) {}

ops::TablePart Embedding::part() const {
  const Parameter& p = parameters_->tokens.members.front();
  return {p.offset[0], p.global_shape[0]};
}

Tensor Embedding::forward(Context& ctx, const MicroBatch& mb, const Tensor&, Saved& saved) {
  const auto& [tokens, positions] = *parameters_;
  const Tensor out = Tensor::empty(ctx, {mb.rows(), tokens.view().num_inputs()}, compute_type_);
  const bool adds_positions = positions && tensor_.rank() == 0;
  const Tensor places = adds_positions ? mb.positions : Tensor(),
               place_table = adds_positions ? positions.weight : Tensor();
  const WeightView table = table_.forward(ctx);
  if (table.packed) {
    const auto& parts = table.packed->parts;
    TRIREME_CHECK(parts.size() == 1, "a token table in {} parts", parts.size());
    ops::packed_embedding(ctx, mb.tokens, parts.front(), part(), places, place_table, out);
  } else {
    ops::embedding(ctx, mb.tokens, table.values, part(), places, place_table, out);
  }
  if (scale_ != 1) ops::scale(ctx, out, scale_);
  const bool sharded_rows = tensor_.shards_rows(mb);
  saved.emplace<EmbeddingState>() = {sharded_rows, mb.tokens, mb.positions, Tensor()};
  return tensor_.reduce(ctx, out, sharded_rows);
}

Tensor Embedding::backward_input(Context& ctx, const Tensor& dy, Saved& saved) {
  auto& state = saved.get<EmbeddingState>();
  state.dy = tensor_.gather(ctx, dy, state.sharded_rows);
  if (scale_ != 1) state.dy = scaled(ctx, state.dy, scale_);
  return Tensor();
}

void Embedding::backward_weight(Context& ctx, Saved& saved) {
  const auto& state = saved.get<EmbeddingState>();
  const auto& [tokens, positions] = *parameters_;
  if (tokens.gradient) ops::embedding_backward(ctx, state.tokens, state.dy, part(), tokens.gradient);
  if (positions && positions.gradient) {
    ops::embedding_backward(ctx, state.positions, state.dy, {0, positions.gradient.dim(0)},
                            positions.gradient);
  }
  saved.clear();
}

}  // namespace trireme
