#include "parallel/optimizer/adamw_optimizer.h"

#include "runtime/ops/adamw.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

AdamWOptimizer::AdamWOptimizer(Context& ctx, ParameterStorage& storage, const AdamWConfig& config)
    : storage_(storage), config_(config) {
  for (const ParameterGroup& group : storage.groups()) {
    const auto zeros = [&] {
      const Tensor t = Tensor::empty(ctx, {group.numel / group.parts}, DType::f32, MemoryCategory::optimizer);
      ops::fill(ctx, t, 0);
      return t;
    };
    moments_.push_back({zeros(), zeros()});
  }
}

void AdamWOptimizer::step(Context& ctx, double lr, double gradient_scale, const BucketUpdated& updated) {
  ops::AdamWOptions options;
  options.lr = static_cast<float>(lr);
  options.beta1 = static_cast<float>(config_.beta1);
  options.beta2 = static_cast<float>(config_.beta2);
  options.eps = static_cast<float>(config_.eps);
  options.step = ++num_steps_;
  options.gradient_scale = static_cast<float>(gradient_scale);
  storage_.forget_whole_weights();
  for (size_t i = 0; i < moments_.size(); ++i) {
    const ParameterGroup& group = storage_.groups()[i];
    options.weight_decay = group.matrices ? static_cast<float>(config_.weight_decay) : 0.0f;
    const bool rounded = group.weights.dtype() != DType::f32;
    for (const ParameterBucket& bucket : group.buckets) {
      const auto own = [&](const Tensor& buffer) { return group.own_part(bucket, buffer); };
      ops::adamw(ctx, options, own(group.gradients), own(group.master), own(moments_[i].m),
                 own(moments_[i].v), rounded ? own(group.weights) : Tensor());
      updated(group, bucket);
    }
  }
}

}  // namespace trireme
