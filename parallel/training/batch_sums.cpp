#include "parallel/training/batch_sums.h"

#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

Tensor zero_sums(Context& ctx, int64_t count) {
  const Tensor t = Tensor::empty(ctx, {count}, DType::f64, MemoryCategory::buffers);
  ops::fill(ctx, t, 0);
  return t;
}

}  // namespace

BatchSums::BatchSums(Context& ctx, const ParallelContext& parallel)
    : parallel_(parallel), weight_(zero_sums(ctx, 1)) {}

void BatchSums::begin(Context& ctx) { losses_ = zero_sums(ctx, 2); }

double BatchSums::weight_of(std::span<const MicroBatch> micro_batches) const {
  if (parallel_.pipeline().rank() != parallel_.pipeline().size() - 1) return 0;
  double weight = 0;
  for (const MicroBatch& mb : micro_batches) weight += mb.weight;
  return weight;
}

void BatchSums::set_weight(Context& ctx, double weight) { ops::fill(ctx, weight_, weight); }

void BatchSums::sum(Context& ctx, const Tensor& totals) const {
  ops::copy(ctx, losses_, totals.slice(0, 2));
  ops::copy(ctx, weight_, totals.slice(2, 3));
  parallel_.gradients().all_reduce(ctx.stream(), totals);
  parallel_.pipeline().all_reduce(ctx.stream(), totals);
}

}  // namespace trireme
