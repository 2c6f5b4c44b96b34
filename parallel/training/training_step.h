// One optimizer step: micro-batches through the stage, reduction, clipping, update.
#pragma once

#include <functional>
#include <span>

#include "parallel/data_parallel/divided_state.h"
#include "parallel/data_parallel/gradient_reducer.h"
#include "parallel/module/stage.h"
#include "parallel/optimizer/adamw_optimizer.h"
#include "parallel/plan/parallel_context.h"

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
  int zero_stage = 0;  ///< 0, 1 or 2: what the ranks that sum gradients divide (StateDivision)

  /// How this rank's parameters are to be laid out for such a step.
  StateDivision division(const ParallelContext& parallel) const;
};

/// Gradients are kept as sums over tokens; the division by the number of tokens happens once, in the update,
/// so that neither unequal ranks nor unequal micro-batches can weigh a token wrongly.
class TrainingStep {
 public:
  /// Everything passed in outlives the step. The storage is laid out by options.division().
  TrainingStep(Context& ctx, const ParallelContext& parallel, Stage& stage, ParameterStorage& storage,
               const TrainingStepOptions& options);

  /// Forward and backward passes of this rank's micro-batches and the reduction over the data-parallel ranks.
  /// After it the storage's gradients (this rank's part of them, where they are divided) are sums over the
  /// global batch.
  BatchTotals accumulate(std::span<MicroBatch> micro_batches);
  /// The global L2 norm of the mean gradient. Bits do not depend on the ZeRO stage.
  double gradient_norm(const BatchTotals& totals);
  /// Clips by `norm`, updates the weights and clears the gradients.
  void update(const BatchTotals& totals, double norm, double lr);

  /// Mean loss of micro-batches without training on them.
  BatchTotals evaluate(std::span<MicroBatch> micro_batches);

  /// Calls `visit` with every parameter, in the order of the forward pass, and its whole f32 weights. All
  /// ranks call it.
  void for_each_weight(const std::function<void(const Parameter&, const Tensor&)>& visit);

 private:
  BatchTotals reduce_totals(const Tensor& loss_sum, int64_t num_targets);

  Context& ctx_;
  const ParallelContext& parallel_;
  Stage& stage_;
  ParameterStorage& storage_;
  double clip_;
  GradientReducer reducer_;
  AdamWOptimizer optimizer_;
  WeightGatherer gatherer_;
};

}  // namespace trireme
