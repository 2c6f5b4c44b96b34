// TrainingStep: one optimizer step: micro-batches through the pipeline, reduction, clipping, update.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "parallel/data_parallel/sharded_state.h"
#include "parallel/module/model_part.h"
#include "parallel/optimizer/model_optimizer.h"
#include "parallel/plan/parallel_context.h"
#include "parallel/pruning/pruner.h"
#include "parallel/training/batch_sums.h"
#include "parallel/training/batch_totals.h"
#include "parallel/training/evaluation.h"
#include "parallel/training/nonfinite.h"
#include "parallel/training/pending_step.h"
#include "parallel/training/router_load.h"
#include "parallel/training/statistics_totals.h"
#include "parallel/training/step_graph.h"
#include "parallel/training/training_passes.h"
#include "parallel/training/training_step_options.h"

namespace trireme {

/// Called with a parameter and its values.
using ParameterVisitor = std::function<void(const Parameter&, const Tensor&)>;

/// Gradients are kept as sums over tokens; the division by the number of tokens happens once, in the update,
/// so that neither unequal ranks nor unequal micro-batches can weigh a token wrongly.
///
/// A step is forward_backward() and then one of apply() and skip(), which take what it gave:
///
///   PendingStep pending = step.forward_backward(micro_batches, loss_scale);
///   if (std::isfinite(pending.gradient_norm())) {  // waits for the device
///     step.apply(std::move(pending), lr);
///   } else {
///     step.skip(std::move(pending));
///   }
///
/// Only the numbers of a PendingStep wait for the device, and routers and NonFiniteCheck::op, which wait in
/// the passes. A caller that need not decide can apply at once, keep a copy of the numbers, and begin the
/// next step before reading them: a norm that is not finite *halts* the step. apply() then changes no weight,
/// and neither does any later one, until skip(); the weights stay those of the last good step, however late
/// that is noticed. To locate the value, run the halted step again: forward_backward() of the same
/// micro-batches, find_nonfinite(), skip().
///
/// All ranks make the same calls. After an exception out of one of them only weights can be read.
class TrainingStep {
 public:
  /// Everything passed in must outlive the step. Sharding follows the part's storage, the rest of the layout
  /// the plan. All ranks make one.
  TrainingStep(Context& ctx, const ParallelContext& parallel, ModelPart& part,
               const TrainingStepOptions& options);
  TrainingStep(const TrainingStep&) = delete;
  TrainingStep& operator=(const TrainingStep&) = delete;

  /// Forward and backward passes of this replica's micro-batches (one or more) in the order of the plan's
  /// schedule, the reduction over the data-parallel ranks, and the norm. After it the storage's gradients
  /// (this rank's shard, where they are sharded) are sums over the global batch, times `loss_scale`.
  /// All ranks of a replica pass the same micro-batches. The step before was applied or skipped.
  PendingStep forward_backward(std::span<MicroBatch> micro_batches, double loss_scale = 1);
  /// Divides by scale and tokens, clips, updates the weights and clears the gradients.
  void apply(PendingStep pending, double lr);
  /// Ends the step without an update, and a halt: clears the gradients, changes nothing else.
  void skip(PendingStep pending);
  /// After a norm that is not finite: the first non-finite value, equal on all ranks. Nothing if checks are
  /// off. `pending` can only be skipped afterwards.
  std::optional<NonFinite> find_nonfinite(PendingStep& pending);

  /// Mean loss of micro-batches without training on them. Replicas may have different numbers of them, or
  /// none, except with ZeRO stage 3, which runs them in lockstep.
  BatchTotals evaluate(std::span<MicroBatch> micro_batches);
  /// The same of all that `next` hands out, bit for bit (Evaluation).
  BatchTotals evaluate_from(const MicroBatchSource& next);

  /// The first weight that is not finite, of all ranks, each of which calls it.
  std::optional<NonFinite> find_nonfinite_weight();
  /// Calls `visit` with every parameter of one of this rank's virtual stages, in the order of the forward
  /// pass, and this rank's block of its f32 weights, or, while a step is pending, of its reduced gradient (a
  /// sum over tokens, times the loss scale). All ranks of a stage call it. Copies of tied weights are left
  /// out.
  void for_each_parameter(size_t chunk, ParameterState state, const ParameterVisitor& visit);

  /// All state besides weights and routers that later steps depend on: to save, and to set before the first
  /// step.
  std::vector<StateBuffer> optimizer_state() const;
  int64_t num_updates() const { return optimizer_.num_steps(); }
  void set_num_updates(int64_t number) { optimizer_.set_num_steps(number); }

  /// What the layers of the model counted in the last forward_backward(), and what its routers did.
  const std::vector<LayerTotals>& layer_totals() const { return statistics_.all(); }
  std::vector<RouterLoad> router_loads() const { return trireme::router_loads(layer_totals()); }

  /// Null where nothing is pruned. The first forward_backward() begins it.
  const Pruner* pruner() const { return pruner_.get(); }

  /// How the training passes spent their time.
  const PipelineTimes& pipeline_times() const { return passes_.times(); }

 private:
  void run(std::span<MicroBatch> micro_batches, double loss_scale, StageObserver* observer);
  void make_numbers(std::span<MicroBatch> micro_batches, double loss_scale);
  void update();
  void gather_weights();
  PendingStep::Content take(PendingStep& pending);

  Context& ctx_;
  const ParallelContext& parallel_;
  ModelPart& part_;
  double clip_;
  bool use_graph_;
  NonFiniteCheck check_;
  uint64_t num_begun_ = 0;
  bool is_pending_ = false;  // the step begun last
  BatchSums sums_;
  Tensor numbers_;  // [4] f64: sums of losses, of what is added, of targets; norm
  Tensor factor_;   // [1] f32: what the update multiplies gradients by; NaN: halted (ops::clip_factor)
  TrainingPasses passes_;
  Evaluation evaluation_;
  StatisticsTotals statistics_;
  ModelOptimizer optimizer_;
  std::unique_ptr<Pruner> pruner_;
  WeightGatherer gatherer_;
  NonFiniteFinder finder_;
  StepGraph graph_;
};

}  // namespace trireme
