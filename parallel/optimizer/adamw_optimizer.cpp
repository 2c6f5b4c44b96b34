#include "parallel/optimizer/adamw_optimizer.h"

#include <algorithm>

#include "runtime/base/philox.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

// Which elements of the model lie in this rank's part of a bucket.
std::vector<ops::ElementRange> ranges_of(const ParameterStorage& storage, const ParameterGroup& group,
                                         size_t index, uint64_t seed) {
  const ParameterBucket& bucket = group.buckets[index];
  const int64_t size = (bucket.end - bucket.begin) / group.parts, own = bucket.begin + group.part * size;
  std::vector<ops::ElementRange> ranges;
  for (const ParameterView& view : storage.parameters()) {
    if (view.group != &group || view.bucket != index) continue;
    const Parameter& p = *view.parameter;
    const int64_t begin = std::max(view.begin, own), end = std::min(view.begin + p.shape.numel(), own + size);
    if (begin >= end) continue;
    ranges.push_back({begin - own, end - own, stream_key(seed, p.name), p.global_shape, p.offset, p.shape,
                      begin - view.begin});
  }
  std::ranges::sort(ranges, {}, &ops::ElementRange::begin);
  return ranges;
}

}  // namespace

AdamWOptimizer::AdamWOptimizer(Context& ctx, ParameterStorage& storage, const AdamWConfig& config)
    : storage_(storage),
      config_(config),
      update_(Tensor::empty(ctx, {ops::kAdamWUpdateSize}, DType::f64, MemoryCategory::buffers)) {
  for (const ParameterGroup& group : storage.groups()) {
    const auto zeros = [&] {
      const Tensor t = Tensor::empty(ctx, {group.numel / group.parts}, DType::f32, MemoryCategory::optimizer);
      ops::fill(ctx, t, 0);
      return t;
    };
    moments_.push_back({zeros(), zeros()});
    auto& ranges = ranges_.emplace_back();
    for (size_t b = 0; !group.master && b < group.buckets.size(); ++b) {
      ranges.push_back(ranges_of(storage, group, b, config.seed));
    }
  }
}

ops::AdamWOptions AdamWOptimizer::options() const {
  ops::AdamWOptions options;
  options.beta1 = static_cast<float>(config_.beta1);
  options.beta2 = static_cast<float>(config_.beta2);
  options.eps = static_cast<float>(config_.eps);
  options.update = update_;
  return options;
}

void AdamWOptimizer::begin(Context& ctx, double lr) {
  ops::write(ctx, ops::adamw_update(options(), lr, ++num_steps_), update_);
}

void AdamWOptimizer::step(Context& ctx, const Tensor& gradient_scale, const BucketUpdated& updated) {
  ops::AdamWOptions options = this->options();
  options.gradient_scale = gradient_scale;
  storage_.forget_whole_weights();
  for (size_t i = 0; i < moments_.size(); ++i) {
    const ParameterGroup& group = storage_.groups()[i];
    options.weight_decay = group.matrices ? static_cast<float>(config_.weight_decay) : 0.0f;
    for (size_t b = 0; b < group.buckets.size(); ++b) {
      update(ctx, options, i, b);
      updated(group, group.buckets[b]);
    }
  }
}

void AdamWOptimizer::update(Context& ctx, const ops::AdamWOptions& options, size_t index, size_t bucket) {
  const ParameterGroup& group = storage_.groups()[index];
  const auto own = [&](const Tensor& buffer) { return group.own_part(group.buckets[bucket], buffer); };
  const Tensor gradient = own(group.gradients), m = own(moments_[index].m), v = own(moments_[index].v);
  if (!group.master) {
    ops::adamw_stochastic(ctx, options, gradient, own(group.weights), m, v, ranges_[index][bucket]);
  } else {
    const bool rounded = group.weights.dtype() != DType::f32;
    ops::adamw(ctx, options, gradient, own(group.master), m, v, rounded ? own(group.weights) : Tensor());
  }
}

}  // namespace trireme
