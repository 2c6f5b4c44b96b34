#include "parallel/data_parallel/divided_state.h"

#include <algorithm>

#include "runtime/ops/elementwise.h"

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

}  // namespace

void add_sum_of_squares(Context& ctx, Communicator& shard, const ParameterGroup& group,
                        std::span<const IndexRange> counted, const Tensor& out) {
  const Tensor sums = Tensor::empty(ctx, {group.numel / ops::kSumBlock}, DType::f64, MemoryCategory::buffers);
  ops::fill(ctx, sums, 0);
  for (const ParameterBucket& bucket : group.buckets) {
    const Tensor own = group.own_part(bucket, group.gradients);
    const int64_t own_begin = bucket.begin + group.part * own.numel();
    for (const IndexRange& range : counted) {
      const int64_t from = std::max(range.begin, own_begin),
                    to = std::min(range.end, own_begin + own.numel());
      if (from < to) add_to_blocks(ctx, own.slice(from - own_begin, to - own_begin), from, sums);
    }
  }
  // Every block's sum is on one rank, zeros elsewhere: nothing is rounded.
  if (group.parts > 1) shard.all_reduce(ctx.stream(), sums);
  ops::add_in_order(ctx, sums, out);
}

void WeightGatherer::start(Stream& stream, const ParameterGroup& group, const ParameterBucket& bucket) {
  if (group.parts == 1 || group.is_divided(group.weights)) return;
  works_.push_back(shard_.all_gather_async(stream, group.own_part(bucket, group.weights),
                                           group.weights.slice(bucket.begin, bucket.end)));
}

void WeightGatherer::finish() {
  for (const WorkPtr& work : works_) work->wait();
  works_.clear();
}

Tensor MasterReader::read(const ParameterView& view) {
  if (view.master) return view.master;
  const ParameterGroup& group = *view.group;
  const ParameterBucket& bucket = group.buckets[view.bucket];
  auto it = std::ranges::find(gathered_, &group, &Gathered::group);
  if (it == gathered_.end() || it->bucket != view.bucket) {
    if (it != gathered_.end()) gathered_.erase(it);
    const Tensor whole =
        Tensor::empty(ctx_, {bucket.end - bucket.begin}, DType::f32, MemoryCategory::buffers);
    shard_.all_gather(ctx_.stream(), group.own_part(bucket, group.master), whole);
    gathered_.push_back({&group, view.bucket, whole});
    it = gathered_.end() - 1;
  }
  return it->master.flat_slice(view.begin - bucket.begin, view.parameter->shape);
}

}  // namespace trireme
