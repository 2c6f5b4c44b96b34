#include "parallel/data_parallel/gradient_reducer.h"

#include "parallel/data_parallel/buckets_in_flight.h"
#include "parallel/module/local_ranges.h"
#include "runtime/base/error.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

GradientReducer::GradientReducer(const ParallelContext& parallel, ParameterStorage& storage, bool overlap,
                                 DType sent)
    : parallel_(parallel), storage_(storage), overlap_(overlap), sent_(sent) {
  TRIREME_CHECK(is_compute_type(sent), "gradients cannot be sent as {}", to_string(sent));
  for (ParameterGroup& group : storage.groups()) {
    const ReplicaGroups& replicas = parallel.replicas(group.kind());
    if (replicas.all().size() == 1 || group.settings.frozen) continue;  // nothing to sum
    if (sent == DType::f32 && !group.is_sharded(group.gradients)) {
      Communicator& first_sum = group.num_shards == 1 ? replicas.all() : replicas.shard();
      registrations_.push_back(first_sum.register_buffer(group.gradients));
    }
    const size_t first = buckets_.size();
    for (ParameterBucket& range : group.buckets) buckets_.push_back({.group = &group, .range = &range});
    for (const auto& place : group.places) {
      bucket_of_[place.block] = first + place.bucket;
      ++buckets_[first + place.bucket].num_blocks;
    }
  }
}

bool GradientReducer::is_sharded(const Bucket& bucket) const {
  return bucket.group->is_sharded(bucket.group->gradients);
}

GradientReducer::Bucket* GradientReducer::find(const ParameterBlock* block) {
  const auto it = bucket_of_.find(block);
  return it == bucket_of_.end() ? nullptr : &buckets_[it->second];
}

void GradientReducer::expect(Context& ctx, std::span<const ParameterBlock* const> blocks) {
  for (const ParameterBlock* block : blocks) {
    Bucket* bucket = find(block);
    if (bucket != nullptr && !bucket->range->gradients)
      storage_.make_gradients(ctx, *bucket->group, *bucket->range);
  }
}

void GradientReducer::ready(Context& ctx, std::span<ParameterBlock* const> blocks) {
  for (const ParameterBlock* block : blocks) {
    Bucket* found = find(block);
    if (found == nullptr) continue;
    Bucket& bucket = *found;
    ++bucket.num_ready;
    TRIREME_CHECK(bucket.num_ready <= bucket.num_blocks, "gradients of a block became ready twice in a step");
    if (bucket.num_ready < bucket.num_blocks) continue;
    if (overlap_ || is_sharded(bucket)) reduce(ctx, bucket);
    if (!overlap_) wait_for_all(ctx);
  }
}

void GradientReducer::finish(Context& ctx) {
  for (Bucket& bucket : buckets_) {
    if (bucket.reduced) continue;
    if (!bucket.range->gradients) storage_.make_gradients(ctx, *bucket.group, *bucket.range);
    reduce(ctx, bucket);
  }
  wait_for_all(ctx);
  for (Bucket& bucket : buckets_) {
    bucket.num_ready = 0;
    bucket.reduced = false;
  }
}

WorkPtr GradientReducer::start_sum(Context& ctx, Bucket& bucket) {
  const ParameterGroup& group = *bucket.group;
  const Tensor& whole = bucket.range->gradients;
  bucket.own = group.num_shards == 1 ? whole : group.own_shard(*bucket.range, group.gradients);
  bucket.sum = bucket.own;
  Tensor sent = whole;
  if (sent_ != DType::f32) {
    sent = Tensor::empty(ctx, whole.shape(), sent_, MemoryCategory::buffers);
    ops::copy(ctx, whole, sent);
    const int64_t begin = bucket.range->begin;
    const IndexRange own = own_indices(group, *bucket.range);
    bucket.sum = sent.slice(own.begin - begin, own.end - begin);
  }
  return group.num_shards == 1
             ? replicas(bucket).all().all_reduce_async(ctx.stream(), sent)
             : replicas(bucket).shard().reduce_scatter_async(ctx.stream(), sent, bucket.sum);
}

void GradientReducer::reduce(Context& ctx, Bucket& bucket) {
  bucket.work = start_sum(ctx, bucket);
  bucket.reduced = true;
  in_flight_.push_back(&bucket);
  const bool somebody_waits = is_sharded(bucket) || has_second_sum(bucket) || sent_ != DType::f32;
  while (somebody_waits && in_flight_.size() > kMaxBucketsInFlight) wait_for_oldest(ctx);
}

void GradientReducer::wait_for_oldest(Context& ctx) {
  Bucket& bucket = *in_flight_.front();
  in_flight_.pop_front();
  bucket.work->wait();
  bucket.work.reset();
  if (has_second_sum(bucket)) {
    among_replicas_.push_back(
        {replicas(bucket).replicate().all_reduce_async(ctx.stream(), bucket.sum), bucket.sum, bucket.own});
  } else if (sent_ != DType::f32) {
    ops::copy(ctx, bucket.sum, bucket.own);
  }
  bucket.sum = bucket.own = Tensor();
  if (is_sharded(bucket)) storage_.release_gradients(*bucket.group, *bucket.range);
}

void GradientReducer::wait_for_all(Context& ctx) {
  while (!in_flight_.empty()) wait_for_oldest(ctx);
  for (const SecondSum& second : among_replicas_) {
    second.work->wait();
    if (sent_ != DType::f32) ops::copy(ctx, second.sum, second.own);
  }
  among_replicas_.clear();
}

}  // namespace trireme
