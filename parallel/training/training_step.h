// One optimizer step: micro-batches through the stage, reduction, clipping, update.
#pragma once

#include <span>

#include "parallel/data_parallel/gradient_reducer.h"
#include "parallel/module/stage.h"
#include "parallel/optimizer/adamw_optimizer.h"
#include "parallel/plan/parallel_context.h"
#include "parallel/tensor_parallel/partial_gradients.h"

namespace trireme {

/// Sums over the whole global batch, equal on all ranks.
struct BatchTotals {
  double loss_sum = 0;      ///< nats
  int64_t num_targets = 0;  ///< tokens that count

  /// The token-weighted mean over the global batch: the loss, defined once for every layout. 0 when no token
  /// counts.
  double mean_loss() const { return num_targets == 0 ? 0 : loss_sum / static_cast<double>(num_targets); }
};

struct TrainingStepOptions {
  AdamWConfig adamw;
  double clip = 1.0;  ///< largest global gradient norm; 0: no clipping
  int64_t bucket_bytes = int64_t{25} << 20;
  bool overlap = true;
};

/// Gradients are kept as sums over tokens; the division by the number of tokens happens once, in the update,
/// so that neither unequal ranks nor unequal micro-batches can weigh a token wrongly.
class TrainingStep {
 public:
  /// Everything passed in outlives the step.
  TrainingStep(Context& ctx, const ParallelContext& parallel, Stage& stage, ParameterStorage& storage,
               const TrainingStepOptions& options);

  /// Forward and backward passes of this rank's micro-batches and the reduction over the data-parallel ranks.
  /// After it the storage's gradients are sums over the global batch.
  BatchTotals accumulate(std::span<MicroBatch> micro_batches);
  /// The global L2 norm of the mean gradient.
  double gradient_norm(const BatchTotals& totals);
  /// Clips by `norm`, updates the weights and clears the gradients.
  void update(const BatchTotals& totals, double norm, double lr);

  /// Mean loss of micro-batches without training on them.
  BatchTotals evaluate(std::span<MicroBatch> micro_batches);

 private:
  BatchTotals reduce_totals(const Tensor& loss_sum, int64_t num_targets);

  Context& ctx_;
  const ParallelContext& parallel_;
  Stage& stage_;
  ParameterStorage& storage_;
  double clip_;
  PartialGradients partial_gradients_;
  GradientReducer reducer_;
  AdamWOptimizer optimizer_;
};

}  // namespace trireme
