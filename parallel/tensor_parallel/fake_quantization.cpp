#include "parallel/tensor_parallel/fake_quantization.h"

#include "runtime/base/error.h"
#include "runtime/ops/packed/fake_quantize.h"
#include "runtime/ops/zeros.h"

namespace trireme {

int64_t QuantizedWeight::num_matrices() const {
  if (!weight_->is_of_experts()) return 1;
  return weight_->members.back().expert - weight_->members.front().expert + 1;
}

WeightView QuantizedWeight::forward(Context& ctx) const {
  if (!is_on()) return weight_->view();
  auto packed = std::make_shared<PackedBlock>();
  packed->activations = how_.activations;
  try {
    packed->parts.push_back(
        ops::pack_weights(ctx, how_.weights, num_matrices(), weight_->weight, log_scales()));
  } catch (const UserError& error) {
    throw_user(error.code(), "{}: {}", weight_->members.front().name, error.what());
  }
  return {.values = {}, .format = WeightFormat::packed, .packed = std::move(packed)};
}

WeightView QuantizedWeight::backward(Context& ctx) const {
  if (!is_on()) return weight_->view();
  const Tensor& w = weight_->weight;
  const Tensor values = Tensor::empty(ctx, w.shape(), w.dtype(), MemoryCategory::buffers);
  ops::fake_quantize(ctx, how_.weights, w, log_scales(), values);
  return {values};
}

void QuantizedWeight::add_gradient(Context& ctx, const Tensor& kept,
                                   const std::function<void(const Tensor&)>& multiply) const {
  if (!kept) return multiply(weight_->gradient);
  if (!weight_->gradient && !scales_->gradient) return multiply({});
  const Tensor dvalues = ops::zeros(ctx, kept.shape(), DType::f32, MemoryCategory::buffers);
  multiply(dvalues);
  const Tensor& dscales = scales_->gradient;
  ops::add_learned_gradients(
      ctx, how_.weights, kept, log_scales(), dvalues, weight_->gradient,
      dscales ? dscales : ops::zeros(ctx, scales_->weight.shape(), DType::f32, MemoryCategory::buffers));
}

}  // namespace trireme
