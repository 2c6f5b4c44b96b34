// The forward and backward passes of a step through the pipeline, with gradient reduction.
#pragma once

#include <optional>
#include <span>

#include "parallel/data_parallel/gradient_reducer.h"
#include "parallel/module/model_part.h"
#include "parallel/pipeline/pipeline_executor.h"
#include "parallel/pipeline/shared_gradients.h"
#include "parallel/plan/parallel_context.h"
#include "parallel/tensor_parallel/partial_gradients.h"
#include "parallel/training/batch_sums.h"

namespace trireme {

class TrainingPasses {
 public:
  /// Everything passed in outlives it. `seed`: MicroBatch::seed. How gradients travel is the plan's. All
  /// ranks make one.
  TrainingPasses(const ParallelContext& parallel, ModelPart& part, uint64_t seed);

  /// Forward and backward passes in the order of the plan's schedule, and the reduction over the
  /// data-parallel ranks. Losses are added to `sums`; the storage's gradients become sums over the global
  /// batch, times `loss_scale`. `observer`, which may be null, sees the stages meanwhile.
  void run(Context& ctx, std::span<MicroBatch> micro_batches, double loss_scale, const BatchSums& sums,
           StageObserver* observer);

  /// How the passes spent their time.
  const PipelineTimes& times() const { return executor_.times(); }

 private:
  void complete(Context& ctx, std::span<ParameterBlock* const> blocks);

  const ParallelContext& parallel_;
  ModelPart& part_;
  uint64_t seed_;
  std::optional<Schedule> schedule_;  // of the last step
  PipelineExecutor executor_;
  SharedGradients shared_;
  PartialGradients partial_gradients_;
  GradientReducer reducer_;
};

}  // namespace trireme
