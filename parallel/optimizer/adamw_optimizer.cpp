#include "parallel/optimizer/adamw_optimizer.h"

#include "parallel/module/local_ranges.h"
#include "runtime/base/philox.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/zeros.h"

namespace trireme {

namespace {

// Which elements of the model lie in this rank's shard of each bucket, counted from where that shard begins.
std::vector<std::vector<ops::ElementRange>> ranges_by_bucket(const ParameterGroup& group, uint64_t seed) {
  std::vector<std::vector<ops::ElementRange>> ranges(group.buckets.size());
  for (const LocalRange& r : own_ranges(group, BufferExtent::sharded)) {
    const int64_t from = own_place(group, group.buckets[r.bucket], BufferExtent::sharded).begin;
    const Parameter& p = *r.parameter;
    ranges[r.bucket].push_back(
        {r.begin - from, r.end - from, stream_key(seed, p.name), p.global_shape, p.offset, p.shape, r.first});
  }
  return ranges;
}

}  // namespace

AdamWOptimizer::AdamWOptimizer(Context& ctx, ParameterStorage& storage, const AdamWConfig& config)
    : storage_(storage),
      config_(config),
      update_(Tensor::empty(ctx, {ops::kAdamWUpdateSize}, DType::f64, MemoryCategory::buffers)) {
  for (const ParameterGroup& group : storage.groups()) {
    const auto moment = [&] {
      return ops::zeros(ctx, {group.numel / group.num_shards}, DType::f32, MemoryCategory::optimizer);
    };
    moments_.push_back({moment(), moment()});
    auto& ranges = ranges_.emplace_back();
    if (!group.master) ranges = ranges_by_bucket(group, config.seed);
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
  const auto own = [&](const Tensor& buffer) { return group.own_shard(group.buckets[bucket], buffer); };
  const Tensor gradient = own(group.gradients), m = own(moments_[index].m), v = own(moments_[index].v);
  if (!group.master) {
    ops::adamw_stochastic(ctx, options, gradient, own(group.weights), m, v, ranges_[index][bucket]);
  } else {
    const bool rounded = group.weights.dtype() != DType::f32;
    ops::adamw(ctx, options, gradient, own(group.master), m, v, rounded ? own(group.weights) : Tensor());
  }
}

}  // namespace trireme
