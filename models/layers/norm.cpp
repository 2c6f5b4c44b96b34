#include "models/layers/norm.h"

#include "runtime/ops/norm.h"

namespace trireme {

namespace {
struct NormState {
  Tensor sum, mean, rstd;
};
}  // namespace

Norm::Norm(const ModelConfig& config, const std::string& name, const TensorParallel& tensor)
    : kind_(config.norm),
      eps_(static_cast<float>(config.norm_eps)),
      gain_(single(tensor.copied(name + ".gain", {config.hidden_size}, 1.0f, 0.0f, true))) {
  if (kind_ == NormKind::layer_norm && config.bias) {
    bias_ = single(tensor.copied(name + ".bias", {config.hidden_size}, 0.0f, 0.0f, true));
  }
}

Norm::Output Norm::forward(Context& ctx, const Tensor& x, const Tensor& residual, Saved& saved) const {
  auto& state = saved.emplace<NormState>();
  const int64_t rows = x.dim(0);
  const Tensor sum = residual ? Tensor::empty(ctx, x.shape(), x.dtype()) : Tensor();
  const Tensor y = Tensor::empty(ctx, x.shape(), x.dtype());
  state.rstd = Tensor::empty(ctx, {rows}, DType::f32);
  if (kind_ == NormKind::layer_norm) {
    state.mean = Tensor::empty(ctx, {rows}, DType::f32);
    ops::layer_norm(ctx, x, residual, gain_.weight, bias_.weight, eps_, sum, y, state.mean, state.rstd);
  } else {
    ops::rms_norm(ctx, x, residual, gain_.weight, eps_, sum, y, state.rstd);
  }
  state.sum = residual ? sum : x;
  return {state.sum, y};
}

Tensor Norm::backward(Context& ctx, const Tensor& dy, const Tensor& dsum, Saved& saved) const {
  const auto& state = saved.get<NormState>();
  const Tensor dx = Tensor::empty(ctx, dy.shape(), dy.dtype());
  if (kind_ == NormKind::layer_norm) {
    ops::layer_norm_backward(ctx, dy, dsum, state.sum, gain_.weight, state.mean, state.rstd, dx,
                             gain_.gradient, bias_.gradient);
  } else {
    ops::rms_norm_backward(ctx, dy, dsum, state.sum, gain_.weight, state.rstd, dx, gain_.gradient);
  }
  saved.clear();
  return dx;
}

void Norm::collect(std::vector<ParameterBlock*>& blocks) {
  blocks.push_back(&gain_);
  if (bias_) blocks.push_back(&bias_);
}

}  // namespace trireme
