#include "models/layers/attention.h"

#include <algorithm>
#include <cmath>

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

// How many tensor ranks hold the same key-value heads.
int copies_of_kv_heads(const ModelConfig& c, const TensorParallel& tensor) {
  return static_cast<int>(std::max<int64_t>(1, tensor.size() / c.num_kv_heads));
}

// This rank's part of `num_heads` that are divided over groups of `num_copies` ranks.
Part heads_of_rank(int64_t num_heads, int num_copies, const TensorParallel& tensor) {
  const int64_t num_groups = tensor.size() / num_copies, group = tensor.rank() / num_copies;
  return {num_heads * group / num_groups, num_heads * (group + 1) / num_groups};
}

ParameterBlock qkv_block(const ModelConfig& c, const std::string& name, const char* suffix, bool matrix,
                         const TensorParallel& tensor) {
  ParameterBlock block;
  const float std = matrix ? static_cast<float>(c.init_std) : 0.0f;
  const auto member = [&](const char* part, int64_t num_heads, int num_copies) {
    const int64_t rows = num_heads * c.head_dim();
    const Shape shape = matrix ? Shape{rows, c.hidden_size} : Shape{rows};
    const Part heads = heads_of_rank(num_heads, num_copies, tensor);
    Parameter p = Parameter::part_of(name + part + suffix, shape, 0,
                                     {heads.begin * c.head_dim(), heads.end * c.head_dim()}, 0.0f, std);
    p.num_copies = num_copies;
    p.is_gradient_partial = num_copies > 1;
    block.members.push_back(std::move(p));
  };
  member(".query", c.num_heads, 1);
  member(".key", c.num_kv_heads, copies_of_kv_heads(c, tensor));
  member(".value", c.num_kv_heads, copies_of_kv_heads(c, tensor));
  return block;
}

}  // namespace

Attention::Attention(const ModelConfig& config, const std::string& name, const Tensor& rotary,
                     const TensorParallel& tensor, const ContextParallel& context, bool recomputes_core)
    : num_heads_(config.num_heads / tensor.size()),
      num_kv_heads_(heads_of_rank(config.num_kv_heads, copies_of_kv_heads(config, tensor), tensor).size()),
      head_dim_(config.head_dim()),
      recomputes_core_(recomputes_core),
      rotary_(rotary),
      qkv_weight_(qkv_block(config, name, ".weight", true, tensor)),
      output_weight_(single(tensor.divided(name + ".output.weight",
                                           {config.hidden_size, config.num_heads * config.head_dim()}, 1,
                                           0.0f, residual_init_std(config)))),
      tensor_(tensor),
      context_(context),
      qkv_(tensor, qkv_weight_, qkv_bias_),
      output_(tensor, output_weight_, output_bias_) {
  if (config.bias) {
    qkv_bias_ = qkv_block(config, name, ".bias", false, tensor);
    output_bias_ = single(tensor.copied(name + ".output.bias", {config.hidden_size}, 0.0f, 0.0f));
  }
}

Tensor Attention::forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) const {
  auto& state = saved.emplace<AttentionState>();
  state.shape = {mb.batch,
                 mb.seq_len,
                 mb.seq_len,
                 num_heads_,
                 num_kv_heads_,
                 head_dim_,
                 1.0f / std::sqrt(static_cast<float>(head_dim_)),
                 true};
  state.context_parts = mb.context_parts;
  const bool divided_rows = tensor_.divides_rows(mb);
  state.qkv = qkv_.forward(ctx, x, divided_rows, state.qkv_linear);
  if (rotary_) {
    state.positions = mb.positions;
    ops::rotary(ctx, {state.qkv, 0, (num_heads_ + num_kv_heads_) * head_dim_}, head_dim_, mb.positions,
                rotary_, false);
  }
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
  if (rotary_) {
    ops::rotary(ctx, {dqkv, 0, (num_heads_ + num_kv_heads_) * head_dim_}, head_dim_, state.positions, rotary_,
                true);
  }
  return qkv_.backward_input(ctx, dqkv, state.qkv_linear);
}

void Attention::backward_weight(Context& ctx, Saved& saved) const {
  auto& state = saved.get<AttentionState>();
  output_.backward_weight(ctx, state.output_linear);
  qkv_.backward_weight(ctx, state.qkv_linear);
  saved.clear();
}

void Attention::collect(std::vector<ParameterBlock*>& blocks) {
  for (ParameterBlock* block : {&qkv_weight_, &qkv_bias_, &output_weight_, &output_bias_}) {
    if (*block) blocks.push_back(block);
  }
}

}  // namespace trireme
