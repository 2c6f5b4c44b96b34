// Evaluation: the loss of micro-batches without training on them.
#pragma once

#include <functional>
#include <vector>

#include "parallel/module/model_part.h"
#include "parallel/pipeline/pipeline_executor.h"
#include "parallel/training/batch_sums.h"
#include "parallel/training/batch_totals.h"

namespace trireme {

/// Hands out some micro-batches at each call; none: there are no more.
using MicroBatchSource = std::function<std::vector<MicroBatch>()>;

class Evaluation {
 public:
  /// Everything passed in outlives it. `seed`: MicroBatch::seed. All ranks make one.
  Evaluation(Context& ctx, const ParallelContext& parallel, ModelPart& part, uint64_t seed);

  /// The totals of all micro-batches of `next`, of which only one call's are held at a time. Replicas may
  /// have different numbers of micro-batches, or none, except with ZeRO stage 3, which runs them in lockstep:
  /// all ranks of a replica (with ZeRO stage 3, of the world) must get equally many from each call.
  BatchTotals run(Context& ctx, const MicroBatchSource& next);

 private:
  const ParallelContext& parallel_;
  uint64_t seed_;
  BatchSums sums_;
  PipelineExecutor executor_;
};

}  // namespace trireme
