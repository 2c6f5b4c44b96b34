// BatchSums: losses and targets' weights of the global batch, summed where the losses are computed.
#pragma once

#include <span>

#include "parallel/module/micro_batch.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

class BatchSums {
 public:
  /// `parallel` outlives it.
  BatchSums(Context& ctx, const ParallelContext& parallel);

  static constexpr int64_t kNumTotals = 3;

  /// New sums of losses and of what is added to them, zero.
  void begin(Context& ctx);
  /// For MicroBatch::loss_sum and added_sum, [1] f64.
  Tensor losses() const { return losses_.slice(0, 1); }
  Tensor added() const { return losses_.slice(1, 2); }
  /// The weight of all targets of micro-batches, on the ranks of the last stage; 0 on the others.
  double weight_of(std::span<const MicroBatch> micro_batches) const;
  /// This rank's.
  void set_weight(Context& ctx, double weight);
  /// `totals` ([kNumTotals] f64) becomes the sums of losses, of what is added, and of weights over all ranks,
  /// which all call it.
  void sum(Context& ctx, const Tensor& totals) const;

 private:
  const ParallelContext& parallel_;
  Tensor losses_;  // [2] f64
  Tensor weight_;  // [1] f64: this rank's
};

}  // namespace trireme
