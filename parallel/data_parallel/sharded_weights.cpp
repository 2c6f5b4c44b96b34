#include "parallel/data_parallel/sharded_weights.h"

#include <algorithm>

namespace trireme {

ShardedWeights::ShardedWeights(const ParallelContext& parallel, ParameterStorage& storage, bool prefetch)
    : parallel_(parallel), storage_(storage), prefetch_(prefetch) {
  for (ParameterGroup& group : storage.groups()) {
    if (!group.is_sharded(group.weights)) continue;
    const size_t first = buckets_.size();
    for (ParameterBucket& range : group.buckets) buckets_.push_back({.group = &group, .range = &range});
    for (const auto& place : group.places) bucket_of_[place.block] = first + place.bucket;
  }
}

ShardedWeights::Bucket* ShardedWeights::find(const ParameterBlock* block) {
  const auto it = bucket_of_.find(block);
  return it == bucket_of_.end() ? nullptr : &buckets_[it->second];
}

void ShardedWeights::expect(Context& ctx, std::span<const ParameterBlock* const> blocks) {
  if (prefetch_) gather(ctx, blocks);
}

void ShardedWeights::acquire(Context& ctx, std::span<const ParameterBlock* const> blocks) {
  gather(ctx, blocks);
  for (const ParameterBlock* block : blocks) {
    Bucket* bucket = find(block);
    if (bucket == nullptr || !bucket->work) continue;
    bucket->work->wait();
    bucket->work.reset();
  }
  for (const ParameterBlock* block : blocks) {
    Bucket* bucket = find(block);
    if (bucket != nullptr && bucket->num_readers++ == 0)
      storage_.show_weights(*bucket->group, *bucket->range);
  }
}

void ShardedWeights::release(std::span<const ParameterBlock* const> blocks) noexcept {
  for (const ParameterBlock* block : blocks) {
    Bucket* bucket = find(block);
    if (bucket != nullptr && --bucket->num_readers == 0)
      storage_.hide_weights(*bucket->group, *bucket->range);
  }
}

void ShardedWeights::gather(Context& ctx, std::span<const ParameterBlock* const> blocks) {
  for (const ParameterBlock* block : blocks) {
    Bucket* bucket = find(block);
    if (bucket == nullptr || bucket->range->weights) continue;
    drop_all_but(blocks);
    const ParameterGroup& group = *bucket->group;
    ParameterBucket& range = *bucket->range;
    range.weights =
        Tensor::empty(ctx, {range.end - range.begin}, group.weights.dtype(), MemoryCategory::weights);
    bucket->work = parallel_.replicas(group.kind())
                       .shard()
                       .all_gather_async(ctx.stream(), group.own_shard(range, group.weights), range.weights);
  }
}

void ShardedWeights::drop_all_but(std::span<const ParameterBlock* const> blocks) {
  for (Bucket& bucket : buckets_) {
    if (bucket.num_readers > 0 || !bucket.range->weights) continue;
    const bool wanted =
        std::ranges::any_of(blocks, [&](const auto* block) { return find(block) == &bucket; });
    if (wanted) continue;
    bucket.range->weights = Tensor();
    bucket.work.reset();
  }
}

}  // namespace trireme
