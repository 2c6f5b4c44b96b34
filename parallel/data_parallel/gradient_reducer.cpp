#include "parallel/data_parallel/gradient_reducer.h"

#include "runtime/base/error.h"

namespace trireme {

namespace {
/// Divided gradients: buckets whose memory waits for a reduction while the backward pass fills others.
constexpr size_t kMostUnderWay = 2;
}  // namespace

GradientReducer::GradientReducer(Communicator& data, ParameterStorage& storage, bool overlap)
    : data_(data), storage_(storage), overlap_(overlap) {
  if (data.size() == 1) return;  // nothing to sum
  for (ParameterGroup& group : storage.groups()) {
    const size_t first = buckets_.size();
    for (ParameterBucket& range : group.buckets) buckets_.push_back({.group = &group, .range = &range});
    for (const auto& place : group.places) {
      bucket_of_[place.block] = first + place.bucket;
      ++buckets_[first + place.bucket].num_blocks;
    }
  }
}

bool GradientReducer::is_divided(const Bucket& bucket) const {
  return bucket.group->is_divided(bucket.group->gradients);
}

void GradientReducer::expect(Context& ctx, std::span<const ParameterBlock* const> blocks) {
  if (buckets_.empty()) return;
  for (const ParameterBlock* block : blocks) {
    Bucket& bucket = buckets_[bucket_of_.at(block)];
    if (!bucket.range->gradients) storage_.make_gradients(ctx, *bucket.group, *bucket.range);
  }
}

void GradientReducer::ready(Context& ctx, std::span<ParameterBlock* const> blocks) {
  if (buckets_.empty()) return;
  for (const ParameterBlock* block : blocks) {
    Bucket& bucket = buckets_[bucket_of_.at(block)];
    ++bucket.num_ready;
    TRIREME_CHECK(bucket.num_ready <= bucket.num_blocks, "gradients of a block became ready twice in a step");
    if (bucket.num_ready < bucket.num_blocks) continue;
    if (overlap_ || is_divided(bucket)) reduce(ctx, bucket);
    if (!overlap_) {
      while (!under_way_.empty()) wait_for_oldest();
    }
  }
}

void GradientReducer::finish(Context& ctx) {
  for (Bucket& bucket : buckets_) {
    if (bucket.reduced) continue;
    if (!bucket.range->gradients) storage_.make_gradients(ctx, *bucket.group, *bucket.range);
    reduce(ctx, bucket);
  }
  while (!under_way_.empty()) wait_for_oldest();
  for (Bucket& bucket : buckets_) {
    bucket.num_ready = 0;
    bucket.reduced = false;
  }
}

void GradientReducer::reduce(Context& ctx, Bucket& bucket) {
  const ParameterGroup& group = *bucket.group;
  const Tensor& whole = bucket.range->gradients;
  bucket.work = group.parts == 1 ? data_.all_reduce_async(ctx.stream(), whole)
                                 : data_.reduce_scatter_async(ctx.stream(), whole,
                                                              group.own_part(*bucket.range, group.gradients));
  bucket.reduced = true;
  under_way_.push_back(&bucket);
  while (is_divided(bucket) && under_way_.size() > kMostUnderWay) wait_for_oldest();
}

void GradientReducer::wait_for_oldest() {
  Bucket& bucket = *under_way_.front();
  under_way_.pop_front();
  bucket.work->wait();
  bucket.work.reset();
  if (is_divided(bucket)) storage_.release_gradients(*bucket.group, *bucket.range);
}

}  // namespace trireme
