#include "models/layers/feed_forward.h"

#include <utility>

#include "models/layers/activation.h"

namespace trireme {

namespace {

struct FeedForwardState {
  Saved up_linear, down_linear;
  Tensor h;  // before the activation
};

}  // namespace

FeedForward::FeedForward(const FeedForwardSpec& spec, std::shared_ptr<FeedForwardParameters> parameters,
                         const TensorParallel& tensor, const MatmulPolicies& matmul)
    : activation_(spec.activation),
      parameters_(std::move(parameters)),
      tensor_(tensor),
      up_(tensor, parameters_->up.weight, parameters_->up.bias, matmul.of(parameters_->up.weight),
          &parameters_->up.scales),
      down_(tensor, parameters_->down.weight, parameters_->down.bias, matmul.of(parameters_->down.weight),
            &parameters_->down.scales) {}

Tensor FeedForward::forward(Context& ctx, const TokenBatch& batch, const Tensor& x, Saved& saved) const {
  auto& state = saved.emplace<FeedForwardState>();
  const bool sharded_rows = tensor_.shards_rows(batch);
  Tensor a;
  if (activation_ == ActivationKind::gelu) {  // GPUs have it in the product's epilogue
    state.h = Tensor::empty(ctx, {batch.rows(), parameters_->up.weight.view().num_outputs()}, x.dtype());
    a = Tensor::empty(ctx, state.h.shape(), x.dtype());
    up_.forward_gelu(ctx, x, sharded_rows, state.h, a, state.up_linear);
  } else {
    state.h = up_.forward(ctx, x, sharded_rows, state.up_linear);
    const int64_t width = state.h.dim(1) / (is_gated(activation_) ? 2 : 1);
    a = Tensor::empty(ctx, {batch.rows(), width}, x.dtype());
    activation(ctx, activation_, state.h, a);
  }
  return down_.forward(ctx, a, sharded_rows, state.down_linear);
}

Tensor FeedForward::backward_input(Context& ctx, const Tensor& dy, Saved& saved) const {
  auto& state = saved.get<FeedForwardState>();
  Tensor dh;
  if (activation_ == ActivationKind::gelu) {
    dh = down_.backward_input_gelu(ctx, dy, state.h, state.down_linear);
  } else {
    const Tensor da = down_.backward_input(ctx, dy, state.down_linear);
    dh = is_gated(activation_) ? state.h : da;  // in place: neither is needed again
    activation_backward(ctx, activation_, state.h, da, dh);
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

}  // namespace trireme
