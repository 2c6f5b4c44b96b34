#include "models/layers/attention.h"

#include <utility>

#include "models/spec/describe_parameters.h"
#include "parallel/context_parallel/ring_attention.h"
#include "runtime/ops/rotary.h"

namespace trireme {

namespace {

struct AttentionState {
  Saved qkv_linear, output_linear;
  ops::AttentionShape shape;
  int context_parts = 1;
  Tensor qkv, out, lse, positions;
};

struct Heads {
  ops::Columns q, k, v;
};

Heads split_heads(const Tensor& qkv, const ops::AttentionShape& s) {
  const int64_t q = s.num_heads * s.head_dim, kv = s.num_kv_heads * s.head_dim;
  return {{qkv, 0, q}, {qkv, q, kv}, {qkv, q + kv, kv}};
}

// The core, from qkv alone: makes out and lse.
void attend(Context& ctx, const ContextParallel& context, AttentionState& state) {
  const ops::AttentionShape& s = state.shape;
  state.out = Tensor::empty(ctx, {state.qkv.dim(0), s.num_heads * s.head_dim}, state.qkv.dtype());
  state.lse = Tensor::empty(ctx, {s.batch, s.num_heads, s.q_len}, DType::f32);
  const Heads heads = split_heads(state.qkv, s);
  ring_attention(ctx, context, state.context_parts, s, heads.q, heads.k, heads.v, state.out, state.lse);
}

// The gradient of qkv, which is let go of with all else that the core kept.
Tensor attend_backward(Context& ctx, const ContextParallel& context, const Tensor& dout,
                       AttentionState& state) {
  const Tensor dqkv = Tensor::empty(ctx, state.qkv.shape(), dout.dtype());
  const Heads heads = split_heads(state.qkv, state.shape);
  const Heads gradients = split_heads(dqkv, state.shape);
  ring_attention_backward(ctx, context, state.context_parts, state.shape, heads.q, heads.k, heads.v,
                          state.out, state.lse, dout, gradients.q, gradients.k, gradients.v);
  state.qkv = state.out = state.lse = Tensor();
  return dqkv;
}

}  // namespace

Attention::Attention(const AttentionSpec& spec, AttentionParameters parameters, const Tensor& rotary,
                     const TensorParallel& tensor, const ContextParallel& context, bool recomputes_core)
    : spec_(spec),
      parameters_(std::move(parameters)),
      num_heads_(heads_of_rank(spec, {tensor.rank(), tensor.size()}).size()),
      num_kv_heads_(kv_heads_of_rank(spec, {tensor.rank(), tensor.size()}).size()),
      recomputes_core_(recomputes_core),
      rotary_(rotary),
      tensor_(tensor),
      context_(context),
      qkv_(tensor, parameters_.qkv.weight, parameters_.qkv.bias),
      output_(tensor, parameters_.output.weight, parameters_.output.bias) {}

ops::AttentionShape Attention::shape(const MicroBatch& mb) const {
  return {.batch = mb.batch,
          .q_len = mb.seq_len,
          .kv_len = mb.seq_len,
          .num_heads = num_heads_,
          .num_kv_heads = num_kv_heads_,
          .head_dim = spec_.head_dim,
          .scale = static_cast<float>(spec_.scale)};
}

void Attention::turn(Context& ctx, const Tensor& qkv, const Tensor& positions, bool back) const {
  if (!rotary_) return;
  ops::rotary(ctx, {qkv, 0, (num_heads_ + num_kv_heads_) * spec_.head_dim}, spec_.head_dim, positions,
              rotary_, back);
}

Tensor Attention::forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) const {
  auto& state = saved.emplace<AttentionState>();
  state.shape = shape(mb);
  state.context_parts = mb.context_parts;
  const bool divided_rows = tensor_.divides_rows(mb);
  state.qkv = qkv_.forward(ctx, x, divided_rows, state.qkv_linear);
  if (rotary_) state.positions = mb.positions;
  turn(ctx, state.qkv, mb.positions, false);
  attend(ctx, context_, state);
  const Tensor y = output_.forward(ctx, state.out, divided_rows, state.output_linear);
  if (recomputes_core_) {
    output_.keep_input({}, state.output_linear);
    state.out = state.lse = Tensor();
  }
  return y;
}

Tensor Attention::backward_input(Context& ctx, const Tensor& dy, Saved& saved) const {
  auto& state = saved.get<AttentionState>();
  const Tensor dout = output_.backward_input(ctx, dy, state.output_linear);
  if (recomputes_core_) {
    attend(ctx, context_, state);
    output_.keep_input(state.out, state.output_linear);
  }
  const Tensor dqkv = attend_backward(ctx, context_, dout, state);
  turn(ctx, dqkv, state.positions, true);
  return qkv_.backward_input(ctx, dqkv, state.qkv_linear);
}

void Attention::backward_weight(Context& ctx, Saved& saved) const {
  auto& state = saved.get<AttentionState>();
  output_.backward_weight(ctx, state.output_linear);
  qkv_.backward_weight(ctx, state.qkv_linear);
  saved.clear();
}

}  // namespace trireme
