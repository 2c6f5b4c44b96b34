// BatchSums: losses and targets of the global batch, summed where the losses are computed.
#pragma once

#include <span>

#include "parallel/module/micro_batch.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

class BatchSums {
 public:
  /// `parallel` outlives it.
  BatchSums(Context& ctx, const ParallelContext& parallel);

  /// A new sum of losses, [1] f64 and zero, for MicroBatch::loss_sum.
  const Tensor& begin(Context& ctx);
  const Tensor& losses() const { return losses_; }
  /// The targets of micro-batches that count, on the ranks of the last stage; 0 on the others.
  int64_t targets_of(std::span<const MicroBatch> micro_batches) const;
  /// This rank's number of targets.
  void set_targets(Context& ctx, int64_t num_targets);
  /// `totals` ([2] f64) becomes the sum of losses and targets over all ranks, which all call it.
  void sum(Context& ctx, const Tensor& totals) const;

 private:
  const ParallelContext& parallel_;
  Tensor losses_;
  Tensor num_targets_;  // [1] f64: this rank's
};

}  // namespace trireme
