#include "models/layers/attention.h"

#include <cmath>

#include "runtime/ops/attention.h"
#include "runtime/ops/rotary.h"

namespace trireme {

namespace {

struct AttentionState {
  Saved qkv_linear, output_linear;
  ops::AttentionShape shape;
  Tensor qkv, out, lse, positions;
};

struct Heads {
  ops::Columns q, k, v;
};

Heads split_heads(const Tensor& qkv, const ops::AttentionShape& s) {
  const int64_t q = s.num_heads * s.head_dim, kv = s.num_kv_heads * s.head_dim;
  return {{qkv, 0, q}, {qkv, q, kv}, {qkv, q + kv, kv}};
}

ParameterBlock qkv_block(const ModelConfig& c, const std::string& name, const char* suffix, bool matrix) {
  ParameterBlock block;
  const float std = matrix ? static_cast<float>(c.init_std) : 0.0f;
  const auto member = [&](const char* part, int64_t heads) {
    const int64_t rows = heads * c.head_dim();
    const Shape shape = matrix ? Shape{rows, c.hidden_size} : Shape{rows};
    block.members.push_back(Parameter::whole(name + part + suffix, shape, 0.0f, std));
  };
  member(".query", c.num_heads);
  member(".key", c.num_kv_heads);
  member(".value", c.num_kv_heads);
  return block;
}

}  // namespace

Attention::Attention(const ModelConfig& config, const std::string& name, const Tensor& rotary)
    : num_heads_(config.num_heads),
      num_kv_heads_(config.num_kv_heads),
      head_dim_(config.head_dim()),
      rotary_(rotary),
      qkv_weight_(qkv_block(config, name, ".weight", true)),
      output_weight_(single(name + ".output.weight",
                            {config.hidden_size, config.num_heads * config.head_dim()}, 0.0f,
                            residual_init_std(config))),
      qkv_(qkv_weight_, qkv_bias_),
      output_(output_weight_, output_bias_) {
  if (config.bias) {
    qkv_bias_ = qkv_block(config, name, ".bias", false);
    output_bias_ = single(name + ".output.bias", {config.hidden_size}, 0.0f, 0.0f);
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
  state.qkv = qkv_.forward(ctx, x, state.qkv_linear);
  if (rotary_) {
    state.positions = mb.positions;
    ops::rotary(ctx, {state.qkv, 0, (num_heads_ + num_kv_heads_) * head_dim_}, head_dim_, mb.positions,
                rotary_, false);
  }
  state.out = Tensor::empty(ctx, {mb.rows(), num_heads_ * head_dim_}, x.dtype());
  state.lse = Tensor::empty(ctx, {mb.batch, num_heads_, mb.seq_len}, DType::f32);
  const Heads heads = split_heads(state.qkv, state.shape);
  ops::attention(ctx, state.shape, heads.q, heads.k, heads.v, state.out, state.lse);
  return output_.forward(ctx, state.out, state.output_linear);
}

Tensor Attention::backward_input(Context& ctx, const Tensor& dy, Saved& saved) const {
  auto& state = saved.get<AttentionState>();
  const Tensor dout = output_.backward_input(ctx, dy, state.output_linear);
  const Tensor dqkv = Tensor::empty(ctx, state.qkv.shape(), dy.dtype());
  const Heads heads = split_heads(state.qkv, state.shape);
  const Heads gradients = split_heads(dqkv, state.shape);
  ops::attention_backward(ctx, state.shape, heads.q, heads.k, heads.v, state.out, state.lse, dout,
                          gradients.q, gradients.k, gradients.v);
  if (rotary_) {
    ops::rotary(ctx, {dqkv, 0, (num_heads_ + num_kv_heads_) * head_dim_}, head_dim_, state.positions, rotary_,
                true);
  }
  state.qkv = state.out = state.lse = Tensor();
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
