#include "parallel/data_parallel/divided_state.h"

#include <algorithm>

#include "runtime/ops/elementwise.h"

namespace trireme {

void add_sum_of_squares(Context& ctx, Communicator& data, const ParameterGroup& group, const Tensor& out) {
  if (group.parts == 1) return ops::add_sum_of_squares(ctx, group.gradients, out);
  const Tensor sums = Tensor::empty(ctx, {group.numel / ops::kSumBlock}, DType::f64, MemoryCategory::buffers);
  ops::fill(ctx, sums, 0);
  for (const ParameterBucket& bucket : group.buckets) {
    const Tensor own = group.own_part(bucket, group.gradients);
    const int64_t begin = (bucket.begin + group.part * own.numel()) / ops::kSumBlock;
    ops::block_sums_of_squares(ctx, own, sums.slice(begin, begin + own.numel() / ops::kSumBlock));
  }
  data.all_reduce(ctx.stream(), sums);  // a block's sum and zeros: no rounding
  ops::add_in_order(ctx, sums, out);
}

void WeightGatherer::start(Stream& stream, const ParameterGroup& group, const ParameterBucket& bucket) {
  if (group.parts == 1) return;
  works_.push_back(data_.all_gather_async(stream, group.own_part(bucket, group.weights),
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
    data_.all_gather(ctx_.stream(), group.own_part(bucket, group.master), whole);
    gathered_.push_back({&group, view.bucket, whole});
    it = gathered_.end() - 1;
  }
  return it->master.flat_slice(view.begin - bucket.begin, view.parameter->shape);
}

}  // namespace trireme
