#include "models/layers/attention.h"

#include <utility>
#include <vector>

#include "models/spec/describe_parameters.h"
#include "parallel/context_parallel/ring_attention.h"
#include "runtime/ops/attention/rotary.h"

namespace trireme {

struct Attention::State {
  Saved qkv_linear, output_linear;
  ops::AttentionShape shape;
  int context_parts = 1;
  std::vector<int32_t> chunk_first_keys;
  Tensor qkv, out, lse, positions;
  QueryKeyNorm::Kept norm;
};

namespace {

struct Heads {
  ops::Columns q, k, v;
};

Heads split_heads(const Tensor& qkv, const ops::AttentionShape& s) {
  const int64_t q = s.num_heads * s.head_dim, kv = s.num_kv_heads * s.head_dim;
  return {{qkv, 0, q}, {qkv, q, kv}, {qkv, q + kv, kv}};
}

// The core, from qkv alone: makes out and lse.
template <class State>
void attend(Context& ctx, const ContextParallel& context, State& state) {
  const ops::AttentionShape& s = state.shape;
  state.out = Tensor::empty(ctx, {state.qkv.dim(0), s.num_heads * s.head_dim}, state.qkv.dtype());
  state.lse = Tensor::empty(ctx, {s.batch, s.num_heads, s.q_len}, DType::f32);
  const Heads heads = split_heads(state.qkv, s);
  ring_attention(ctx, context, state.context_parts, s, heads.q, heads.k, heads.v, state.out, state.lse,
                 state.chunk_first_keys);
}

// The gradient of qkv, which is let go of with all else that the core kept.
template <class State>
Tensor attend_backward(Context& ctx, const ContextParallel& context, const Tensor& dout, State& state) {
  const Tensor dqkv = Tensor::empty(ctx, state.qkv.shape(), dout.dtype());
  const Heads heads = split_heads(state.qkv, state.shape);
  const Heads gradients = split_heads(dqkv, state.shape);
  ring_attention_backward(ctx, context, state.context_parts, state.shape, heads.q, heads.k, heads.v,
                          state.out, state.lse, dout, gradients.q, gradients.k, gradients.v,
                          state.chunk_first_keys);
  state.qkv = state.out = state.lse = Tensor();
  return dqkv;
}

}  // namespace

Attention::Attention(const AttentionSpec& spec, std::shared_ptr<AttentionParameters> parameters,
                     int64_t index, const Tensor& rotary, const TensorParallel& tensor,
                     const ContextParallel& context, bool recomputes_core, const MatmulPolicies& matmul)
    : spec_(spec),
      parameters_(std::move(parameters)),
      index_(index),
      num_heads_(heads_of_rank(spec, {tensor.rank(), tensor.size()}).size()),
      num_kv_heads_(kv_heads_of_rank(spec, {tensor.rank(), tensor.size()}).size()),
      recomputes_core_(recomputes_core),
      rotary_(rotary),
      tensor_(tensor),
      context_(context),
      qkv_(tensor, parameters_->qkv.weight, parameters_->qkv.bias, matmul.of(parameters_->qkv.weight),
           &parameters_->qkv.scales),
      norm_(spec, parameters_, tensor),
      output_(tensor, parameters_->output.weight, parameters_->output.bias,
              matmul.of(parameters_->output.weight), &parameters_->output.scales) {}

ops::AttentionShape Attention::shape(const TokenBatch& batch) const {
  return {.batch = batch.batch,
          .q_len = batch.seq_len,
          .kv_len = batch.seq_len,
          .num_heads = num_heads_,
          .num_kv_heads = num_kv_heads_,
          .head_dim = spec_.head_dim,
          .scale = static_cast<float>(spec_.scale),
          .window = spec_.window,
          .soft_cap = static_cast<float>(spec_.soft_cap),
          .first_key = batch.first_key,
          .pattern = spec_.keys};
}

void Attention::turn(Context& ctx, const Tensor& qkv, const Tensor& positions, bool back) const {
  if (!rotary_) return;
  ops::rotary(ctx, {qkv, 0, (num_heads_ + num_kv_heads_) * spec_.head_dim}, spec_.head_dim, positions,
              rotary_, back);
}

Tensor Attention::forward(Context& ctx, const TokenBatch& batch, const Tensor& x, Saved& saved) const {
  if (batch.paged) return forward_paged(ctx, batch, x);
  auto& state = saved.emplace<State>();
  state.shape = shape(batch);
  state.context_parts = batch.context_parts;
  state.chunk_first_keys = batch.chunk_first_keys;
  const bool sharded_rows = tensor_.shards_rows(batch);
  state.qkv = qkv_.forward(ctx, x, sharded_rows, state.qkv_linear);
  norm_.forward(ctx, state.qkv, state.norm);
  if (rotary_) state.positions = batch.positions;
  turn(ctx, state.qkv, batch.positions, false);
  attend(ctx, context_, state);
  const Tensor y = output_.forward(ctx, state.out, sharded_rows, state.output_linear);
  if (recomputes_core_) {
    output_.keep_input({}, state.output_linear);
    state.out = state.lse = Tensor();
  }
  return y;
}

// Queries, keys and values as they are attended with; the last two are in the cache then.
Tensor Attention::store_and_give(Context& ctx, const TokenBatch& batch, const Tensor& x) const {
  Saved dropped;
  QueryKeyNorm::Kept of_norm;
  const Tensor qkv = qkv_.forward(ctx, x, false, dropped);
  norm_.forward(ctx, qkv, of_norm);
  turn(ctx, qkv, batch.positions, false);
  const Heads heads = split_heads(qkv, shape(batch));
  ops::store_keys_values(ctx, batch.paged->rows, heads.k, heads.v,
                         batch.paged->blocks[static_cast<size_t>(index_)]);
  return qkv;
}

void Attention::store(Context& ctx, const TokenBatch& batch, const Tensor& x) const {
  (void)store_and_give(ctx, batch, x);
}

Tensor Attention::forward_paged(Context& ctx, const TokenBatch& batch, const Tensor& x) const {
  Saved dropped;
  const Tensor qkv = store_and_give(ctx, batch, x);
  const ops::AttentionShape whole = shape(batch);
  const Heads heads = split_heads(qkv, whole);
  const ops::PagedRows& rows = batch.paged->rows;
  const ops::KeyValueBlocks& blocks = batch.paged->blocks[static_cast<size_t>(index_)];
  const Tensor out = Tensor::empty(ctx, {qkv.dim(0), heads.q.count}, qkv.dtype());
  const ops::PagedShape paged{whole.num_heads, whole.num_kv_heads, whole.head_dim, whole.scale,
                              whole.window,    whole.soft_cap,     whole.pattern};
  ops::paged_attention(ctx, paged, rows, heads.q, blocks, out);
  return output_.forward(ctx, out, false, dropped);
}

Tensor Attention::backward_input(Context& ctx, const Tensor& dy, Saved& saved) const {
  auto& state = saved.get<State>();
  const Tensor dout = output_.backward_input(ctx, dy, state.output_linear);
  if (recomputes_core_) {
    attend(ctx, context_, state);
    output_.keep_input(state.out, state.output_linear);
  }
  const Tensor dqkv = attend_backward(ctx, context_, dout, state);
  turn(ctx, dqkv, state.positions, true);
  norm_.backward(ctx, dqkv, state.norm);
  return qkv_.backward_input(ctx, dqkv, state.qkv_linear);
}

void Attention::backward_weight(Context& ctx, Saved& saved) const {
  auto& state = saved.get<State>();
  output_.backward_weight(ctx, state.output_linear);
  qkv_.backward_weight(ctx, state.qkv_linear);
  saved.clear();
}

}  // namespace trireme
