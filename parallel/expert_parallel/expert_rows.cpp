#include "parallel/expert_parallel/expert_rows.h"

#include "runtime/ops/elementwise.h"

namespace trireme {

ExpertRows::ExpertRows(const TensorParallel& tensor, const ExpertParallel& experts, const MicroBatch& mb)
    : tensor_(tensor),
      width_(experts.width()),
      sharded_(tensor.shards_rows(mb)),
      num_all_(mb.rows()),
      own_(tensor.part(num_all_)) {
  const int first = tensor_.rank() - width_.rank(), last = first + width_.size() - 1;
  passed_ = {tensor_.part_of_rank(num_all_, first).begin, tensor_.part_of_rank(num_all_, last).end};
  // Neighbours of the group pass what the tensor-parallel ranks have divided, and those behind them the same.
  const int shards = tensor_.size() / width_.size(), copies = experts.size() / shards;
  if (!mb.paged || copies < 2 || experts.size() % shards != 0) return;
  sharing_ = &experts.group();
  const int64_t copy = sharing_->rank() / shards, begin = passed_.begin, count = passed_.size();
  passed_ = {begin + count * copy / copies, begin + count * (copy + 1) / copies};
  own_ = passed_;
}

Tensor ExpertRows::take(Context& ctx, const Tensor& x) const {
  return sharded_ ? width_.gather(ctx, x, true) : x.slice(passed_.begin, passed_.end);
}

Tensor ExpertRows::give(Context& ctx, const Tensor& y) const {
  const bool is_whole = width_.size() == tensor_.size() && sharing_ == nullptr;
  if (sharded_ || is_whole) return width_.reduce(ctx, y, sharded_);
  // One sum adds the parts of the width and puts the rows together.
  const Tensor all = Tensor::empty(ctx, {num_all_, y.dim(1)}, y.dtype());
  ops::fill(ctx, all, 0);
  if (passed_.size() > 0) ops::copy(ctx, y, all.slice(passed_.begin, passed_.end));
  if (sharing_ == nullptr) return tensor_.reduce(ctx, all, false);
  sharing_->all_reduce(ctx.stream(), all);
  return width_.reduce(ctx, all, false);
}

}  // namespace trireme
