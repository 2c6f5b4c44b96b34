#include "parallel/optimizer/adamw_optimizer.h"

#include "parallel/module/local_ranges.h"
#include "runtime/base/philox.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

// Which elements of the model lie in this rank's shard of each bucket, counted from where that begins.
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
    : config_(config) {
  for (const ParameterGroup* group : groups_of(storage, kind())) {
    Group& own = groups_.emplace_back();
    own.group = group;
    own.m = make_state(ctx, *group);
    own.v = make_state(ctx, *group);
    own.update = Tensor::empty(ctx, {ops::kAdamWUpdateSize}, DType::f64, MemoryCategory::buffers);
    if (!group->master) own.ranges = ranges_by_bucket(*group, config.seed);
  }
}

ops::AdamWOptions AdamWOptimizer::options(const Group& group) const {
  ops::AdamWOptions options;
  options.beta1 = static_cast<float>(config_.beta1);
  options.beta2 = static_cast<float>(config_.beta2);
  options.eps = static_cast<float>(config_.eps);
  options.weight_decay = group.group->settings.decays ? static_cast<float>(config_.weight_decay) : 0.0f;
  options.update = group.update;
  return options;
}

void AdamWOptimizer::begin(Context& ctx, double lr, int64_t number) {
  for (const Group& group : groups_) {
    ops::write(ctx, ops::adamw_update(options(group), lr * group.group->settings.lr_factor, number),
               group.update);
  }
}

void AdamWOptimizer::update(Context& ctx, const Tensor& gradient_scale, const BucketUpdated& updated) {
  for (const Group& group : groups_) {
    ops::AdamWOptions options = this->options(group);
    options.gradient_scale = gradient_scale;
    for (size_t b = 0; b < group.group->buckets.size(); ++b) {
      update(ctx, options, group, b);
      updated(*group.group, group.group->buckets[b]);
    }
  }
}

void AdamWOptimizer::update(Context& ctx, const ops::AdamWOptions& options, const Group& own, size_t bucket) {
  const ParameterGroup& group = *own.group;
  const auto shard = [&](const Tensor& buffer) { return group.own_shard(group.buckets[bucket], buffer); };
  const Tensor gradient = shard(group.gradients), m = shard(own.m), v = shard(own.v);
  if (!group.master) {
    ops::adamw_stochastic(ctx, options, gradient, shard(group.weights), m, v, own.ranges[bucket]);
  } else {
    const bool rounded = group.weights.dtype() != DType::f32;
    ops::adamw(ctx, options, gradient, shard(group.master), m, v, rounded ? shard(group.weights) : Tensor());
  }
}

std::vector<StateBuffer> AdamWOptimizer::state() const {
  std::vector<StateBuffer> state;
  for (const Group& group : groups_) {
    state.push_back({"first_moment", group.group, group.m});
    state.push_back({"second_moment", group.group, group.v});
  }
  return state;
}

}  // namespace trireme
