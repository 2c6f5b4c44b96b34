#include "parallel/data_parallel/sharded_state.h"

#include <algorithm>

#include "runtime/ops/elementwise.h"
#include "runtime/ops/training/finite.h"
#include "runtime/ops/zeros.h"

namespace trireme {

namespace {

// Adds the squares of elements [begin, begin + t.numel()) of a group to the sums of the blocks they lie in.
void add_to_blocks(Context& ctx, const Tensor& t, int64_t begin, const Tensor& sums) {
  const int64_t end = begin + t.numel();
  const auto cut = [&](int64_t from, int64_t to) { return t.slice(from - begin, to - begin); };
  for (int64_t at = begin; at < end;) {
    const int64_t block = at / ops::kSumBlock;
    int64_t next = (block + 1) * ops::kSumBlock;
    if (at % ops::kSumBlock == 0 && next <= end) {
      next = end / ops::kSumBlock * ops::kSumBlock;
      ops::block_sums_of_squares(ctx, cut(at, next), sums.slice(block, next / ops::kSumBlock));
    } else {
      next = std::min(next, end);
      ops::add_sum_of_squares(ctx, cut(at, next), sums.slice(block, block + 1));
    }
    at = next;
  }
}

// Makes `out` NaN where one of the own elements outside of the counted ranges (copies that others count) is
// not finite.
void add_nonfinite_of_others(Context& ctx, const Tensor& own, int64_t own_begin,
                             std::span<const IndexRange> counted, const Tensor& out) {
  const int64_t own_end = own_begin + own.numel();
  int64_t at = own_begin;
  Tensor sum;
  const auto add_up_to = [&](int64_t end) {
    if (at >= end) return;
    if (!sum) {
      sum = Tensor::empty(ctx, {1}, DType::f64, MemoryCategory::buffers);
      ops::fill(ctx, sum, 0);
    }
    ops::add_sum_of_squares(ctx, own.slice(at - own_begin, end - own_begin), sum);
  };
  for (const IndexRange& range : counted) {
    add_up_to(std::min(range.begin, own_end));
    at = std::max(at, range.end);
  }
  add_up_to(own_end);
  if (sum) ops::propagate_nonfinite(ctx, sum, out);
}

}  // namespace

void add_sum_of_squares(Context& ctx, Communicator& shard, const ParameterGroup& group,
                        std::span<const IndexRange> counted, const Tensor& out) {
  const Tensor sums = Tensor::empty(ctx, {group.numel / ops::kSumBlock}, DType::f64, MemoryCategory::buffers);
  ops::fill(ctx, sums, 0);
  for (const ParameterBucket& bucket : group.buckets) {
    const Tensor values = group.own_shard(bucket, group.gradients);
    const IndexRange own = own_indices(group, bucket);
    for (const IndexRange& range : counted) {
      const IndexRange both = intersection(range, own);
      if (both.empty()) continue;
      add_to_blocks(ctx, values.slice(both.begin - own.begin, both.end - own.begin), both.begin, sums);
    }
    add_nonfinite_of_others(ctx, values, own.begin, counted, sums.slice(0, 1));
  }
  // Every block's sum is on one rank, zeros elsewhere: nothing is rounded.
  if (group.num_shards > 1) shard.all_reduce(ctx.stream(), sums);
  ops::add_in_order(ctx, sums, out);
}

WeightGatherer::WeightGatherer(const ParallelContext& parallel, ParameterStorage& storage)
    : parallel_(parallel) {
  for (const ParameterGroup& group : storage.groups()) {
    if (!gathers(group)) continue;
    registrations_.push_back(parallel.replicas(group.kind()).shard().register_buffer(group.weights));
  }
}

void WeightGatherer::start(Stream& stream, const ParameterGroup& group, const ParameterBucket& bucket) {
  if (!gathers(group)) return;
  works_.push_back(parallel_.replicas(group.kind())
                       .shard()
                       .all_gather_async(stream, group.own_shard(bucket, group.weights),
                                         group.weights.slice(bucket.begin, bucket.end)));
}

void WeightGatherer::finish() {
  for (const WorkPtr& work : works_) work->wait();
  works_.clear();
}

Tensor StateReader::read(const ParameterView& view) {
  const ParameterGroup& group = *view.group;
  const bool reads_master = state_ == ParameterState::master;
  if (reads_master && view.master) return view.master;
  if (!reads_master && group.settings.frozen)
    return ops::zeros(ctx_, view.parameter->shape, DType::f32, MemoryCategory::buffers);
  if (!reads_master && group.num_shards == 1)
    return view.gradient;  // else whole gradients hold one reduced shard
  const ParameterBucket& bucket = group.buckets[view.bucket];
  auto it = std::ranges::find(gathered_, &group, &Gathered::group);
  if (it == gathered_.end() || it->bucket != view.bucket) {
    if (it != gathered_.end()) gathered_.erase(it);
    const Tensor whole =
        Tensor::empty(ctx_, {bucket.end - bucket.begin}, DType::f32, MemoryCategory::buffers);
    gather(group, bucket, whole);
    gathered_.push_back({&group, view.bucket, whole});
    it = gathered_.end() - 1;
  }
  return it->values.flat_slice(view.begin - bucket.begin, view.parameter->shape);
}

void StateReader::gather(const ParameterGroup& group, const ParameterBucket& bucket, const Tensor& whole) {
  const Tensor& master = group.master ? group.master : group.weights;
  const Tensor own = group.own_shard(bucket, state_ == ParameterState::master ? master : group.gradients);
  Communicator& shard = parallel_.replicas(group.kind()).shard();
  if (own.dtype() == DType::f32) return shard.all_gather(ctx_.stream(), own, whole);
  if (group.num_shards == 1) return ops::copy(ctx_, own, whole);
  const Tensor narrow = Tensor::empty(ctx_, whole.shape(), own.dtype(), MemoryCategory::buffers);
  shard.all_gather(ctx_.stream(), own, narrow);
  ops::copy(ctx_, narrow, whole);
}

}  // namespace trireme
