// One optimizer step: micro-batches through the pipeline, reduction, clipping, update.
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "parallel/data_parallel/gradient_reducer.h"
#include "parallel/data_parallel/sharded_state.h"
#include "parallel/module/model_part.h"
#include "parallel/optimizer/adamw_optimizer.h"
#include "parallel/pipeline/pipeline_executor.h"
#include "parallel/pipeline/tied_weights.h"
#include "parallel/plan/parallel_context.h"
#include "parallel/tensor_parallel/partial_gradients.h"
#include "parallel/training/nonfinite.h"
#include "parallel/training/nonfinite_policy.h"
#include "parallel/training/router_totals.h"
#include "parallel/training/step_graph.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

/// Sums over the whole global batch, equal on all ranks.
struct BatchTotals {
  double loss_sum = 0;      ///< nats
  int64_t num_targets = 0;  ///< tokens that count
  double loss_scale = 1;    ///< by which the gradients are too large
  double aux_loss_sum = 0;  ///< what the routers' auxiliary losses add to the sum that is minimised
  double z_loss_sum = 0;    ///< likewise their z-losses

  /// The token-weighted mean over the global batch: the loss, defined once for every layout. No number (NaN)
  /// when no token counts.
  double mean_loss() const { return mean_of(loss_sum); }
  double mean_of(double sum) const {
    return num_targets == 0 ? std::numeric_limits<double>::quiet_NaN()
                            : sum / static_cast<double>(num_targets);
  }
};

/// What a step's passes measured. The device may still be at it: the calls wait for it.
class StepNumbers {
 public:
  BatchTotals totals() const;
  /// As TrainingStep::gradient_norm().
  double gradient_norm() const { return numbers_.values()[2]; }

 private:
  friend class TrainingStep;
  StepNumbers(ops::HostCopy<double> numbers, const BatchTotals& known)
      : numbers_(std::move(numbers)), known_(known) {}

  ops::HostCopy<double> numbers_;  // sum of losses, targets, norm
  BatchTotals known_;
};

/// Hands out some micro-batches at each call; none: there are no more.
using MicroBatchSource = std::function<std::vector<MicroBatch>()>;

/// Told of a parameter and its values.
using ParameterVisitor = std::function<void(const Parameter&, const Tensor&)>;

struct TrainingStepOptions {
  AdamWConfig adamw;
  double clip = 1.0;  ///< largest global gradient norm; 0: no clipping
  int64_t bucket_bytes = int64_t{25} << 20;
  bool overlap = true;
  DType gradient_dtype = DType::f32;  ///< what gradients travel as (GradientReducer)
  int zero_stage = 0;                 ///< 0 to 3: what the ranks that sum gradients divide (ShardingSpec)
  bool master = true;                 ///< f32 master weights beside 16-bit ones; without, stochastic rounding
  NonFiniteCheck check = NonFiniteCheck::step;
  uint64_t seed = 0;       ///< MicroBatch::seed
  bool use_graph = false;  ///< step() captures the device's work

  /// How this rank's parameters are to be laid out for such a step.
  ShardingSpec sharding(const ParallelContext& parallel) const;
};

/// Gradients are kept as sums over tokens; the division by the number of tokens happens once, in the update,
/// so that neither unequal ranks nor unequal micro-batches can weigh a token wrongly.
class TrainingStep {
 public:
  /// Everything passed in outlives the step. The part's storage is laid out by options.division(). All ranks
  /// make one.
  TrainingStep(Context& ctx, const ParallelContext& parallel, ModelPart& part,
               const TrainingStepOptions& options);

  /// Forward and backward passes of this replica's micro-batches (one or more) in the order of the plan's
  /// schedule, and the reduction over the data-parallel ranks. After it the storage's gradients (this rank's
  /// part of them, where they are divided) are sums over the global batch, times `loss_scale`. All ranks
  /// of a replica pass the same micro-batches.
  BatchTotals accumulate(std::span<MicroBatch> micro_batches, double loss_scale = 1);
  /// The global L2 norm of the mean gradient. Bits do not depend on the ZeRO stage. Finite on all ranks or on
  /// none: it is not where the loss or any gradient is not, on whatever rank.
  double gradient_norm();
  /// Both, without waiting for the device (routers and NonFiniteCheck::op wait in the passes).
  StepNumbers measure(std::span<MicroBatch> micro_batches, double loss_scale = 1);
  /// After a norm that is not finite, on all ranks: where the first such value came up, equal on all. Nothing
  /// where checks are off. Gradients are of no use afterwards.
  std::optional<NonFinite> find_nonfinite(std::span<MicroBatch> micro_batches, const BatchTotals& totals);
  /// Ends a step without an update: clears the gradients, changes nothing else.
  void skip();
  /// After either of them: divides by scale and tokens, clips, updates the weights and clears the gradients.
  /// What the norm is, is known to the device alone. If it is not finite no weight is changed, by this call
  /// and all later ones until skip(): they stay those of the last good step, however late that is heard of.
  void update(double lr);

  /// measure() and update() at once. With options.use_graph the device's work is captured and submitted as a
  /// graph (StepGraph), for which nothing in it may wait for the device or for other streams than NCCL's: no
  /// routers, NonFiniteCheck::op, pipeline or communication through the host.
  StepNumbers step(std::span<MicroBatch> micro_batches, double loss_scale, double lr);

  /// Mean loss of micro-batches without training on them; replicas may have different numbers of them, or
  /// none, but under ZeRO stage 3, where they run layers together.
  BatchTotals evaluate(std::span<MicroBatch> micro_batches);
  /// The same of all that `next` hands out, bit for bit, but no more of it is held than one call's. All ranks
  /// of a replica (under ZeRO stage 3 of the world) get as many micro-batches from each call.
  BatchTotals evaluate_from(const MicroBatchSource& next);

  /// The first weight that is not finite, of all ranks, each of which calls it.
  std::optional<NonFinite> find_nonfinite_weight();
  /// Calls `visit` with every parameter of one of this rank's virtual stages, in the order of the forward
  /// pass, and this rank's block of its f32 weights, or of its reduced gradient (after accumulate(): a sum
  /// over tokens, times the loss scale). All ranks of a stage call it. Copies of tied weights are left out.
  void for_each_parameter(size_t chunk, ParameterState state, const ParameterVisitor& visit);

  /// What each router of the model did in the last accumulate().
  const std::vector<RouterLoad>& router_loads() const { return routers_.loads(); }

  /// How the training passes spent their time.
  const PipelineTimes& pipeline_times() const { return training_.times(); }

 private:
  void begin(std::span<MicroBatch> micro_batches, bool training);
  void run(std::span<MicroBatch> micro_batches, double loss_scale, StageObserver* observer);
  void complete(std::span<ParameterBlock* const> blocks);
  void make_sums(std::span<MicroBatch> micro_batches, double loss_scale);
  void make_norm();
  void count_targets(std::span<const MicroBatch> micro_batches);
  int64_t num_targets(std::span<const MicroBatch> micro_batches) const;
  void sum_totals(const Tensor& totals);
  void apply();

  Context& ctx_;
  const ParallelContext& parallel_;
  ModelPart& part_;
  double clip_;
  uint64_t seed_;
  bool use_graph_;
  Tensor loss_sum_;        // of the micro-batches under way
  Tensor num_targets_;     // [1] f64: this rank's
  Tensor numbers_;         // [3] f64: sum of losses, targets, norm
  Tensor factor_;          // [1] f32: what the update multiplies gradients by
  BatchTotals known_;      // of the same step, what the host knows
  bool has_norm_ = false;  // of the gradients that are there
  std::optional<Schedule> schedule_;
  PipelineExecutor training_, evaluation_;
  TiedWeights tied_weights_;
  PartialGradients partial_gradients_;
  RouterTotals routers_;
  GradientReducer reducer_;
  AdamWOptimizer optimizer_;
  WeightGatherer gatherer_;
  NonFiniteCheck check_;
  NonFiniteFinder finder_;
  StepGraph graph_;
};

}  // namespace trireme
