#include "models/layers/norm.h"

#include <utility>

#include "runtime/ops/norm.h"
#include "runtime/ops/zeros.h"

namespace trireme {

namespace {
struct NormState {
  Tensor sum, mean, rstd;
};
}  // namespace

Tensor gradient_or_scratch(Context& ctx, const ParameterBlock& block) {
  return block.gradient ? block.gradient
                        : ops::zeros(ctx, block.shape(), DType::f32, MemoryCategory::buffers);
}

Norm::Norm(const NormSpec& spec, std::shared_ptr<NormParameters> parameters)
    : spec_(spec), parameters_(std::move(parameters)) {}

Norm::Output Norm::forward(Context& ctx, const Tensor& x, const Tensor& residual, Saved& saved) const {
  auto& state = saved.emplace<NormState>();
  const auto& [gain, bias] = *parameters_;
  const auto eps = static_cast<float>(spec_.eps);
  const int64_t rows = x.dim(0);
  const Tensor sum = residual ? Tensor::empty(ctx, x.shape(), x.dtype()) : Tensor();
  const Tensor y = Tensor::empty(ctx, x.shape(), x.dtype());
  state.rstd = Tensor::empty(ctx, {rows}, DType::f32);
  if (spec_.kind == NormKind::layer_norm) {
    state.mean = Tensor::empty(ctx, {rows}, DType::f32);
    ops::layer_norm(ctx, x, residual, gain.weight, bias.weight, eps, sum, y, state.mean, state.rstd);
  } else {
    ops::rms_norm(ctx, x, residual, gain.weight, eps, sum, y, state.rstd);
  }
  state.sum = residual ? sum : x;
  return {state.sum, y};
}

Tensor Norm::backward(Context& ctx, const Tensor& dy, const Tensor& dsum, Saved& saved) const {
  const auto& state = saved.get<NormState>();
  const auto& [gain, bias] = *parameters_;
  const Tensor dx = Tensor::empty(ctx, dy.shape(), dy.dtype()), dgain = gradient_or_scratch(ctx, gain);
  if (spec_.kind == NormKind::layer_norm) {
    ops::layer_norm_backward(ctx, dy, dsum, state.sum, gain.weight, state.mean, state.rstd, dx, dgain,
                             bias.gradient);
  } else {
    ops::rms_norm_backward(ctx, dy, dsum, state.sum, gain.weight, state.rstd, dx, dgain);
  }
  saved.clear();
  return dx;
}

}  // namespace trireme
