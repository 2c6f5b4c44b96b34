#include "parallel/training/training_step.h"

#include <limits>
#include <utility>

#include "parallel/optimizer/gradient_norm.h"
#include "runtime/base/error.h"
#include "runtime/comm/record/recorder.h"
#include "runtime/ops/training/clip.h"
#include "runtime/ops/zeros.h"

namespace trireme {

TrainingStep::TrainingStep(Context& ctx, const ParallelContext& parallel, ModelPart& part,
                           const TrainingStepOptions& options)
    : ctx_(ctx),
      parallel_(parallel),
      part_(part),
      clip_(options.clip),
      use_graph_(options.use_graph),
      check_(options.check),
      sums_(ctx, parallel),
      numbers_(ops::zeros(ctx, {BatchSums::kNumTotals + 1}, DType::f64, MemoryCategory::buffers)),
      factor_(ops::zeros(ctx, {1}, DType::f32, MemoryCategory::buffers)),
      passes_(parallel, part, options.seed),
      evaluation_(ctx, parallel, part, options.seed),
      statistics_(ctx, parallel, part.statistics()),
      optimizer_(ctx, parallel, *part.storage, options.adamw, options.muon),
      gatherer_(parallel, *part.storage),
      finder_(parallel.world().rank()) {
  if (options.prune)
    pruner_ = std::make_unique<Pruner>(ctx, parallel, *part.storage, optimizer_.state(),
                                       options.adamw.eps > 0, options.prune, options.prunable);
}

std::vector<StateBuffer> TrainingStep::optimizer_state() const {
  std::vector<StateBuffer> all = optimizer_.state();
  if (!pruner_) return all;
  const auto masks = pruner_->state();
  all.insert(all.end(), masks.begin(), masks.end());
  return all;
}

// Whatever a choice has changed.
void TrainingStep::gather_weights() {
  for (const ParameterGroup& group : part_.storage->groups()) {
    for (const ParameterBucket& bucket : group.buckets) gatherer_.start(ctx_.stream(), group, bucket);
  }
  gatherer_.finish();
}

PendingStep TrainingStep::forward_backward(std::span<MicroBatch> micro_batches, double loss_scale) {
  TRIREME_CHECK(!is_pending_, "step {} was neither applied nor skipped when the next one began", num_begun_);
  if (pruner_ && num_begun_ == 0 && pruner_->begin(ctx_, num_updates())) gather_weights();
  if (ctx_.recorder() != nullptr) ctx_.recorder()->enter(Phase::forward);
  sums_.set_weight(ctx_, sums_.weight_of(micro_batches));
  const auto passes = [&](std::span<MicroBatch> own) { make_numbers(own, loss_scale); };
  if (use_graph_) {
    part_.storage->forget_whole_weights();  // what an evaluation has left is not there the next time
    graph_.run_passes(ctx_, micro_batches, loss_scale, passes);
  } else {
    passes(micro_batches);
  }
  BatchTotals known{.loss_scale = loss_scale};
  for (const RouterLoad& load : router_loads()) {
    known.aux_loss_sum += load.sums.aux_loss;
    known.z_loss_sum += load.sums.z_loss;
  }
  is_pending_ = true;
  return PendingStep({.numbers = {ops::HostCopy<double>(ctx_, numbers_), known},
                      .micro_batches = {micro_batches.begin(), micro_batches.end()},
                      .loss_scale = loss_scale,
                      .step = this,
                      .number = ++num_begun_});
}

void TrainingStep::run(std::span<MicroBatch> micro_batches, double loss_scale, StageObserver* observer) {
  statistics_.clear();
  sums_.begin(ctx_);
  passes_.run(ctx_, micro_batches, loss_scale, sums_, observer);
}

void TrainingStep::make_numbers(std::span<MicroBatch> micro_batches, double loss_scale) {
  finder_.clear();
  run(micro_batches, loss_scale, check_ == NonFiniteCheck::op ? &finder_ : nullptr);
  // What one rank has found reaches the others with the totals and the norm, which follow from this.
  if (finder_.has_found()) ops::fill(ctx_, sums_.losses(), std::numeric_limits<double>::quiet_NaN());
  sums_.sum(ctx_, numbers_.slice(0, BatchSums::kNumTotals));
  statistics_.sum(ctx_);
  if (pruner_) pruner_->mask_gradients(ctx_);
  const Tensor squares = sum_of_squared_gradients(ctx_, *part_.storage, parallel_, numbers_.slice(0, 1));
  ops::clip_factor(ctx_, {loss_scale, clip_}, numbers_.slice(2, 3), squares, numbers_.slice(3, 4), factor_);
}

PendingStep::Content TrainingStep::take(PendingStep& pending) {
  TRIREME_CHECK(pending.content_ != nullptr, "a step that was already applied or skipped");
  TRIREME_CHECK(pending.content_->step == this && pending.content_->number == num_begun_ && is_pending_,
                "a step that another TrainingStep began, or not the last one");
  is_pending_ = false;
  return std::move(*std::exchange(pending.content_, nullptr));
}

void TrainingStep::apply(PendingStep pending, double lr) {
  TRIREME_CHECK(take(pending).has_gradients, "a step that was searched for a value that is not finite");
  if (ctx_.recorder() != nullptr) ctx_.recorder()->enter(Phase::update);
  optimizer_.begin(ctx_, lr);
  if (use_graph_) {
    graph_.run_update(ctx_, [this] { update(); });
    part_.storage->forget_whole_weights();  // which a graph does not say
  } else {
    update();
  }
  if (pruner_ && pruner_->choose_after(ctx_, num_updates(), factor_)) gather_weights();
}

void TrainingStep::update() {
  optimizer_.step(ctx_, factor_, [this](const ParameterGroup& group, const ParameterBucket& bucket) {
    if (pruner_) pruner_->mask_updated(ctx_, group, bucket);
    gatherer_.start(ctx_.stream(), group, bucket);
  });
  part_.storage->zero_gradients(ctx_);
  statistics_.finish();
  gatherer_.finish();
}

void TrainingStep::skip(PendingStep pending) {
  take(pending);
  part_.storage->zero_gradients(ctx_);
  ops::fill(ctx_, factor_, 0);
}

std::optional<NonFinite> TrainingStep::find_nonfinite(PendingStep& pending) {
  TRIREME_CHECK(pending.content_ != nullptr && is_pending_ && pending.content_->number == num_begun_,
                "a step that was already applied or skipped");
  if (check_ == NonFiniteCheck::off) return std::nullopt;
  finder_.check_sums(ctx_, *part_.storage);
  if (check_ == NonFiniteCheck::step) {
    // The weights are what they were, so the same values come up again.
    pending.content_->has_gradients = false;
    part_.storage->zero_gradients(ctx_);
    run(pending.content_->micro_batches, pending.content_->loss_scale, &finder_);
  }
  return finder_.agree(ctx_, parallel_.world());
}

std::optional<NonFinite> TrainingStep::find_nonfinite_weight() {
  NonFiniteFinder finder(parallel_.world().rank());
  finder.check_weights(ctx_, *part_.storage);
  return finder.agree(ctx_, parallel_.world());
}

void TrainingStep::for_each_parameter(size_t chunk, ParameterState state, const ParameterVisitor& visit) {
  StateReader reader(ctx_, parallel_, state);
  for (const ParameterView& view : part_.parameters(chunk)) {
    if (!view.parameter->is_tied_copy) visit(*view.parameter, reader.read(view));
  }
}

BatchTotals TrainingStep::evaluate(std::span<MicroBatch> micro_batches) {
  bool is_first = true;
  return evaluate_from([&] {
    if (!std::exchange(is_first, false)) return std::vector<MicroBatch>();
    return std::vector<MicroBatch>(micro_batches.begin(), micro_batches.end());
  });
}

BatchTotals TrainingStep::evaluate_from(const MicroBatchSource& next) {
  statistics_.clear();
  return evaluation_.run(ctx_, next);
}

}  // namespace trireme
