#include "parallel/module/parameter_storage.h"

#include <unordered_map>
#include <utility>

#include "parallel/module/local_ranges.h"
#include "runtime/base/error.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/random.h"
#include "runtime/ops/zeros.h"

namespace trireme {

namespace {

void draw(Context& ctx, const Parameter& p, uint64_t seed, const Tensor& values) {
  if (p.init_std == 0) {
    ops::fill(ctx, values, p.init_mean);
  } else {
    ops::fill_normal(ctx, values, seed, p.name, p.global_shape, p.offset, p.init_mean, p.init_std);
  }
}

std::vector<BlockSize> sizes_of(std::span<ParameterBlock* const> blocks,
                                std::span<const ParameterRule> rules) {
  std::vector<BlockSize> sizes;
  const Layer* owner = nullptr;
  int64_t number = 0;
  for (const ParameterBlock* block : blocks) {
    if (std::exchange(owner, block->owner) != block->owner) ++number;
    sizes.push_back({block->shape().numel(), number, block->holders, block->is_matrix(),
                     block->is_of_experts(), settings_of_block(*block, rules)});
  }
  return sizes;
}

}  // namespace

Tensor ParameterGroup::own_shard(const ParameterBucket& bucket, const Tensor& buffer) const {
  const IndexRange own = own_place(*this, bucket, extent_of(*this, buffer));
  return buffer.slice(own.begin, own.end);
}

ParameterStorage::ParameterStorage(Context& ctx, std::span<ParameterBlock* const> blocks, DType compute_type,
                                   const ShardingSpec& sharding)
    : sharding_(sharding) {
  std::vector<FlatGroup> layout = flat_layout(sizes_of(blocks, sharding.rules), sharding);
  groups_.reserve(layout.size());
  for (const FlatGroup& flat : layout)
    add_group(ctx, blocks, flat, flat.matrices ? compute_type : DType::f32);

  std::unordered_map<const ParameterBlock*, std::pair<const ParameterGroup*, const ParameterGroup::Place*>>
      where;
  for (const ParameterGroup& group : groups_) {
    for (const auto& place : group.places) where[place.block] = {&group, &place};
  }
  for (const ParameterBlock* block : blocks) {
    const auto [group, place] = where.at(block);
    int64_t at = place->begin;
    for (const Parameter& p : block->members) {
      const auto view = [&, g = group](const Tensor& t) {
        return !t || g->is_sharded(t) ? Tensor() : t.flat_slice(at, p.shape);
      };
      parameters_.push_back({&p, group, place->bucket, at, view(group->master), view(group->gradients)});
      at += p.shape.numel();
    }
  }
}

void ParameterStorage::add_group(Context& ctx, std::span<ParameterBlock* const> blocks, const FlatGroup& flat,
                                 DType compute_type) {
  ParameterGroup group;
  group.matrices = flat.matrices;
  group.experts = flat.experts;
  group.settings = flat.settings;
  group.num_shards = flat.num_shards;
  group.shard = flat.shard;
  group.numel = flat.numel;
  for (const auto& place : flat.places)
    group.places.push_back({blocks[place.block], place.begin, place.bucket});
  for (const FlatBucket& bucket : flat.buckets) group.buckets.push_back({bucket.begin, bucket.end, {}, {}});
  const auto numel_at = [&](int stage) {
    return sharding_.zero_stage >= stage ? flat.shard_numel() : flat.numel;
  };
  group.weights = ops::zeros(ctx, {flat.shards_weights ? flat.shard_numel() : flat.numel}, compute_type,
                             MemoryCategory::weights);
  if (compute_type == DType::f32) {
    group.master = group.weights;
  } else if (sharding_.master) {
    group.master = ops::zeros(ctx, {numel_at(1)}, DType::f32, MemoryCategory::optimizer);
  }
  const bool trains = !group.settings.frozen;
  if (trains) group.gradients = ops::zeros(ctx, {numel_at(2)}, DType::f32, MemoryCategory::gradients);
  const bool whole = trains && !group.is_sharded(group.gradients),
             whole_weights = !group.is_sharded(group.weights);
  if (whole) {
    for (auto& bucket : group.buckets) bucket.gradients = group.gradients.slice(bucket.begin, bucket.end);
  }
  for (const auto& place : group.places) {
    if (whole_weights) place.block->weight = group.weights.flat_slice(place.begin, place.block->shape());
    if (whole) place.block->gradient = group.gradients.flat_slice(place.begin, place.block->shape());
  }
  groups_.push_back(std::move(group));
}

void ParameterStorage::initialize(Context& ctx, uint64_t seed) {
  set(ctx, [&](const Parameter& p, const Tensor& values) {
    draw(ctx, p, seed, values);
    return true;
  });
}

void ParameterStorage::set(Context& ctx, const std::function<bool(const Parameter&, const Tensor&)>& fill) {
  for (const ParameterView& view : parameters_) {
    if (view.master) {
      fill(*view.parameter, view.master);
    } else {
      const Tensor values = Tensor::empty(ctx, view.parameter->shape, DType::f32, MemoryCategory::buffers);
      if (fill(*view.parameter, values)) store(ctx, view, values);
    }
  }
  refresh_weights(ctx);
}

// Puts a parameter into the weights and the masters: what of it this rank holds.
void ParameterStorage::store(Context& ctx, const ParameterView& view, const Tensor& values) {
  const ParameterGroup& group = *view.group;
  const auto store_in = [&](const Tensor& buffer) {
    const LocalRange held = held_range(view, extent_of(group, buffer));
    if (!held.empty()) ops::copy(ctx, values.flat_slice(held.first, {held.size()}), held.in(buffer));
  };
  if (group.master) store_in(group.master);
  if (group.weights.raw() != group.master.raw()) store_in(group.weights);
}

void ParameterStorage::zero_gradients(Context& ctx) {
  for (const ParameterGroup& group : groups_) {
    if (group.gradients && !group.is_sharded(group.gradients)) ops::fill(ctx, group.gradients, 0);
  }
}

void ParameterStorage::refresh_weights(Context& ctx) {
  for (const ParameterGroup& group : groups_) {
    const bool rounded = group.weights.dtype() != DType::f32;
    if (rounded && group.master.numel() == group.weights.numel()) ops::copy(ctx, group.master, group.weights);
  }
  forget_whole_weights();
}

void ParameterStorage::make_gradients(Context& ctx, ParameterGroup& group, ParameterBucket& bucket) {
  TRIREME_CHECK(!bucket.gradients, "a bucket has its gradients already");
  bucket.gradients = ops::zeros(ctx, {bucket.end - bucket.begin}, DType::f32, MemoryCategory::gradients);
  for (const auto& place : group.places) {
    if (&group.buckets[place.bucket] != &bucket) continue;
    place.block->gradient = bucket.gradients.flat_slice(place.begin - bucket.begin, place.block->shape());
  }
}

void ParameterStorage::release_gradients(ParameterGroup& group, ParameterBucket& bucket) {
  for (const auto& place : group.places) {
    if (&group.buckets[place.bucket] == &bucket) place.block->gradient = Tensor();
  }
  bucket.gradients = Tensor();
}

void ParameterStorage::show_weights(const ParameterGroup& group, const ParameterBucket& bucket) {
  for (const auto& place : group.places) {
    if (&group.buckets[place.bucket] != &bucket) continue;
    place.block->weight = bucket.weights.flat_slice(place.begin - bucket.begin, place.block->shape());
  }
}

void ParameterStorage::hide_weights(const ParameterGroup& group, const ParameterBucket& bucket) {
  for (const auto& place : group.places) {
    if (&group.buckets[place.bucket] == &bucket) place.block->weight = Tensor();
  }
}

void ParameterStorage::forget_whole_weights() {
  for (ParameterGroup& group : groups_) {
    for (ParameterBucket& bucket : group.buckets) bucket.weights = Tensor();
  }
}

}  // namespace trireme
