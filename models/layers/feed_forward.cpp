#include "models/layers/feed_forward.h"

#include "runtime/ops/activation.h"

namespace trireme {

namespace {

struct FeedForwardState {
  Saved up_linear, down_linear;
  Tensor h;  // before the activation
};

ParameterBlock up_block(const ModelConfig& c, const std::string& name, const char* suffix, bool matrix,
                        const TensorParallel& tensor) {
  ParameterBlock block;
  const Shape shape = matrix ? Shape{c.ffn_size, c.hidden_size} : Shape{c.ffn_size};
  const float std = matrix ? static_cast<float>(c.init_std) : 0.0f;
  if (c.activation == ActivationKind::swiglu) {
    block.members.push_back(tensor.divided(name + ".gate" + suffix, shape, 0, 0.0f, std));
  }
  block.members.push_back(tensor.divided(name + ".up" + suffix, shape, 0, 0.0f, std));
  return block;
}

}  // namespace

FeedForward::FeedForward(const ModelConfig& config, const std::string& name, const TensorParallel& tensor)
    : activation_(config.activation),
      up_weight_(up_block(config, name, ".weight", true, tensor)),
      down_weight_(single(tensor.divided(name + ".down.weight", {config.hidden_size, config.ffn_size}, 1,
                                         0.0f, residual_init_std(config)))),
      tensor_(tensor),
      up_(tensor, up_weight_, up_bias_),
      down_(tensor, down_weight_, down_bias_) {
  if (config.bias) {
    up_bias_ = up_block(config, name, ".bias", false, tensor);
    down_bias_ = single(tensor.copied(name + ".down.bias", {config.hidden_size}, 0.0f, 0.0f));
  }
}

Tensor FeedForward::forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) const {
  auto& state = saved.emplace<FeedForwardState>();
  const bool divided_rows = tensor_.divides_rows(mb);
  Tensor a;
  if (activation_ == ActivationKind::swiglu) {
    state.h = up_.forward(ctx, x, divided_rows, state.up_linear);
    a = Tensor::empty(ctx, {mb.rows(), state.h.dim(1) / 2}, x.dtype());
    ops::swiglu(ctx, state.h, a);
  } else {
    state.h = Tensor::empty(ctx, {mb.rows(), up_weight_.weight.dim(0)}, x.dtype());
    a = Tensor::empty(ctx, state.h.shape(), x.dtype());
    up_.forward_gelu(ctx, x, divided_rows, state.h, a, state.up_linear);
  }
  return down_.forward(ctx, a, divided_rows, state.down_linear);
}

Tensor FeedForward::backward_input(Context& ctx, const Tensor& dy, Saved& saved) const {
  auto& state = saved.get<FeedForwardState>();
  Tensor dh;
  if (activation_ == ActivationKind::swiglu) {
    const Tensor da = down_.backward_input(ctx, dy, state.down_linear);
    dh = state.h;  // in place: h is not needed again
    ops::swiglu_backward(ctx, state.h, da, dh);
  } else {
    dh = down_.backward_input_gelu(ctx, dy, state.h, state.down_linear);
  }
  state.h = Tensor();
  return up_.backward_input(ctx, dh, state.up_linear);
}

void FeedForward::backward_weight(Context& ctx, Saved& saved) const {
  auto& state = saved.get<FeedForwardState>();
  down_.backward_weight(ctx, state.down_linear);
  up_.backward_weight(ctx, state.up_linear);
  saved.clear();
}

void FeedForward::collect(std::vector<ParameterBlock*>& blocks) {
  for (ParameterBlock* block : {&up_weight_, &up_bias_, &down_weight_, &down_bias_}) {
    if (*block) blocks.push_back(block);
  }
}

}  // namespace trireme
