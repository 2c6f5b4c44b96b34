#include "parallel/optimizer/gradient_norm.h"

#include <algorithm>

#include "parallel/data_parallel/sharded_state.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/training/finite.h"

namespace trireme {

namespace {

// The group without the copies that an earlier rank counts; the padding in between is zero.
std::vector<IndexRange> counted_ranges(const ParameterGroup& group, int tensor_rank) {
  std::vector<IndexRange> ranges;
  const auto add = [&](int64_t begin, int64_t end) {
    if (begin < end) ranges.push_back({begin, end});
  };
  int64_t begin = 0;
  for (const auto& place : group.places) {
    int64_t at = place.begin;
    for (const Parameter& p : place.block->members) {
      const int64_t end = at + p.shape.numel();
      if (tensor_rank % p.num_copies != 0 || p.is_tied_copy) {
        add(begin, at);
        begin = end;
      }
      at = end;
    }
  }
  add(begin, group.numel);
  return ranges;
}

}  // namespace

Tensor sum_of_squared_gradients(Context& ctx, ParameterStorage& storage, const ParallelContext& parallel,
                                const Tensor& loss_sum) {
  const Tensor sums = Tensor::empty(ctx, {2}, DType::f64, MemoryCategory::buffers);
  ops::fill(ctx, sums, 0);
  const Tensor squares = sums.slice(0, 1), of_experts = sums.slice(1, 2);
  for (const Tensor& sum : {squares, of_experts}) ops::propagate_nonfinite(ctx, loss_sum, sum);
  for (const ParameterGroup& group : storage.groups()) {
    if (group.settings.frozen) continue;
    add_sum_of_squares(ctx, parallel.replicas(group.kind()).shard(), group,
                       counted_ranges(group, parallel.tensor().rank()), group.experts ? of_experts : squares);
  }
  parallel.tensor().all_reduce(ctx.stream(), squares);
  if (std::ranges::any_of(storage.groups(), &ParameterGroup::experts)) {
    parallel.expert_tensor().all_reduce(ctx.stream(), of_experts);
    parallel.experts().all_reduce(ctx.stream(), of_experts);
    ops::add_in_order(ctx, of_experts, squares);
  }
  parallel.pipeline().all_reduce(ctx.stream(), squares);
  return squares;
}

}  // namespace trireme
