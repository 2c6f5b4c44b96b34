#include "parallel/training/training_step.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "parallel/optimizer/gradient_norm.h"
#include "parallel/pipeline/plan_schedule.h"
#include "runtime/ops/clip.h"

namespace trireme {

namespace {

Tensor zeros(Context& ctx, int64_t n, DType dtype) {
  const Tensor t = Tensor::empty(ctx, {n}, dtype, MemoryCategory::buffers);
  ops::fill(ctx, t, 0);
  return t;
}

BatchTotals with_sums(BatchTotals totals, std::span<const double> sums) {
  totals.loss_sum = sums[0];
  totals.num_targets = std::llround(sums[1]);
  return totals;
}

// Lets an observer, where there is one, see the stages for as long as this lives.
class Observing {
 public:
  Observing(ModelPart& part, StageObserver* observer) : part_(part), observer_(observer) {
    if (observer_ == nullptr) return;
    for (Stage& stage : part_.chunks) stage.observe(*observer_);
  }
  ~Observing() {
    if (observer_ == nullptr) return;
    for (Stage& stage : part_.chunks) stage.ignore(*observer_);
  }
  Observing(const Observing&) = delete;
  Observing& operator=(const Observing&) = delete;

 private:
  ModelPart& part_;
  StageObserver* observer_;
};

}  // namespace

BatchTotals StepNumbers::totals() const { return with_sums(known_, numbers_.values()); }

ShardingSpec TrainingStepOptions::sharding(const ParallelContext& parallel) const {
  ShardingSpec sharding{.zero_stage = zero_stage, .bucket_bytes = bucket_bytes, .master = master};
  if (zero_stage > 0) {
    sharding.num_shards = parallel.shard().size();
    sharding.shard = parallel.shard().rank();
    sharding.num_expert_shards = parallel.replicas(ParameterKind::expert).shard().size();
    sharding.expert_shard = parallel.replicas(ParameterKind::expert).shard().rank();
  }
  return sharding;
}

TrainingStep::TrainingStep(Context& ctx, const ParallelContext& parallel, ModelPart& part,
                           const TrainingStepOptions& options)
    : ctx_(ctx),
      parallel_(parallel),
      part_(part),
      clip_(options.clip),
      seed_(options.seed),
      use_graph_(options.use_graph),
      num_targets_(zeros(ctx, 1, DType::f64)),
      numbers_(zeros(ctx, 3, DType::f64)),
      factor_(zeros(ctx, 1, DType::f32)),
      training_(parallel.pipeline(), part),
      evaluation_(parallel.pipeline(), part),
      tied_weights_(parallel.pipeline(), part.tied),
      partial_gradients_(parallel.tensor(), part.blocks()),
      routers_(ctx, parallel, part.routers()),
      reducer_(parallel, *part.storage, options.overlap, options.gradient_dtype),
      optimizer_(ctx, *part.storage, options.adamw),
      gatherer_(parallel, *part.storage),
      check_(options.check),
      finder_(parallel.world().rank()) {
  const ShardingSpec& sharding = part.storage->sharding();
  TRIREME_CHECK(sharding == options.sharding(parallel),
                "the storage was laid out for another step: ZeRO stage {}, {} parts, buckets of {} bytes",
                sharding.zero_stage, sharding.num_shards, sharding.bucket_bytes);
}

void TrainingStep::begin(std::span<MicroBatch> micro_batches, bool training) {
  loss_sum_ = zeros(ctx_, 1, DType::f64);
  routers_.clear();
  for (MicroBatch& mb : micro_batches) {
    mb.training = training;
    mb.seed = seed_;
    mb.loss_sum = loss_sum_;
  }
}

BatchTotals TrainingStep::accumulate(std::span<MicroBatch> micro_batches, double loss_scale) {
  count_targets(micro_batches);
  make_sums(micro_batches, loss_scale);
  return with_sums(known_, ops::to_host<double>(ctx_, numbers_));
}

double TrainingStep::gradient_norm() {
  make_norm();
  return ops::value_of<double>(ctx_, numbers_.slice(2, 3));
}

StepNumbers TrainingStep::measure(std::span<MicroBatch> micro_batches, double loss_scale) {
  count_targets(micro_batches);
  make_sums(micro_batches, loss_scale);
  make_norm();
  return {ops::HostCopy<double>(ctx_, numbers_), known_};
}

StepNumbers TrainingStep::step(std::span<MicroBatch> micro_batches, double loss_scale, double lr) {
  count_targets(micro_batches);
  optimizer_.begin(ctx_, lr);
  const auto work = [&](std::span<MicroBatch> own) {
    make_sums(own, loss_scale);
    make_norm();
    apply();
  };
  if (use_graph_) {
    part_.storage->forget_whole_weights();  // what an evaluation has left is not there the next time
    graph_.run(ctx_, micro_batches, loss_scale, work);
    known_ = {.loss_scale = loss_scale};  // what make_sums() says, where a graph runs in its place
  } else {
    work(micro_batches);
  }
  return {ops::HostCopy<double>(ctx_, numbers_), known_};
}

void TrainingStep::make_sums(std::span<MicroBatch> micro_batches, double loss_scale) {
  finder_.clear();
  has_norm_ = false;
  run(micro_batches, loss_scale, check_ == NonFiniteCheck::op ? &finder_ : nullptr);
  // What one rank has found reaches the others with the totals and the norm, which follow from this.
  if (finder_.has_found()) ops::fill(ctx_, loss_sum_, std::numeric_limits<double>::quiet_NaN());
  sum_totals(numbers_.slice(0, 2));
  known_ = {.loss_scale = loss_scale};
  routers_.sum(ctx_);
  for (const RouterLoad& load : routers_.loads()) {
    known_.aux_loss_sum += load.sums.aux_loss;
    known_.z_loss_sum += load.sums.z_loss;
  }
}

void TrainingStep::run(std::span<MicroBatch> micro_batches, double loss_scale, StageObserver* observer) {
  const Observing observing(part_, observer);
  const auto num_micro_batches = static_cast<int>(micro_batches.size());
  if (!schedule_ || schedule_->num_micro_batches != num_micro_batches)
    schedule_ = training_schedule(parallel_.plan(), num_micro_batches);
  begin(micro_batches, true);
  for (MicroBatch& mb : micro_batches) mb.gradient_scale = static_cast<float>(loss_scale);
  const GradientHooks hooks{
      [this](std::span<const ParameterBlock* const> blocks) { reducer_.expect(ctx_, blocks); },
      [this](std::span<ParameterBlock* const> blocks) { complete(blocks); }};
  training_.run(ctx_, *schedule_, micro_batches, hooks);
  if (ParameterBlock* tied = tied_weights_.block()) {
    reducer_.expect(ctx_, std::array<const ParameterBlock*, 1>{tied});
    tied_weights_.sum(ctx_);
    reducer_.ready(ctx_, std::array{tied});
  }
  reducer_.finish(ctx_);
}

// Tied weights are left for the end of the step, when both stages have their gradient.
void TrainingStep::complete(std::span<ParameterBlock* const> blocks) {
  std::vector<ParameterBlock*> own(blocks.begin(), blocks.end());
  std::erase(own, tied_weights_.block());
  partial_gradients_.sum(ctx_, own);
  reducer_.ready(ctx_, own);
}

void TrainingStep::make_norm() {
  const Tensor squares = sum_of_squared_gradients(ctx_, *part_.storage, parallel_, numbers_.slice(0, 1));
  ops::clip_factor(ctx_, {known_.loss_scale, clip_}, numbers_.slice(1, 2), squares, numbers_.slice(2, 3),
                   factor_);
  has_norm_ = true;
}

std::optional<NonFinite> TrainingStep::find_nonfinite(std::span<MicroBatch> micro_batches,
                                                      const BatchTotals& totals) {
  if (check_ == NonFiniteCheck::off) return std::nullopt;
  finder_.look_at_sums(ctx_, *part_.storage);
  if (check_ == NonFiniteCheck::step) {
    // The weights are what they were, so the same values come up again.
    part_.storage->zero_gradients(ctx_);
    run(micro_batches, totals.loss_scale, &finder_);
  }
  return finder_.agree(ctx_, parallel_.world());
}

void TrainingStep::skip() {
  part_.storage->zero_gradients(ctx_);
  ops::fill(ctx_, factor_, 0);
}

std::optional<NonFinite> TrainingStep::find_nonfinite_weight() {
  NonFiniteFinder finder(parallel_.world().rank());
  finder.look_at_weights(ctx_, *part_.storage);
  return finder.agree(ctx_, parallel_.world());
}

void TrainingStep::update(double lr) {
  optimizer_.begin(ctx_, lr);
  apply();
}

void TrainingStep::apply() {
  TRIREME_CHECK(std::exchange(has_norm_, false), "an update without the norm of its gradients");
  optimizer_.step(ctx_, factor_, [this](const ParameterGroup& group, const ParameterBucket& bucket) {
    gatherer_.start(ctx_.stream(), group, bucket);
  });
  part_.storage->zero_gradients(ctx_);
  routers_.finish();
  gatherer_.finish();
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
  begin({}, false);
  const Tensor sum = loss_sum_;  // of all that is handed out
  int64_t num_counted = 0;
  for (auto some = next(); !some.empty(); some = next()) {
    for (MicroBatch& mb : some) {
      mb.training = false;
      mb.seed = seed_;
      mb.loss_sum = sum;
    }
    evaluation_.run(ctx_, evaluation_schedule(parallel_.plan(), static_cast<int>(some.size())), some);
    num_counted += num_targets(some);
  }
  const Tensor totals = Tensor::empty(ctx_, {2}, DType::f64, MemoryCategory::buffers);
  ops::fill(ctx_, num_targets_, static_cast<double>(num_counted));
  sum_totals(totals);
  return with_sums({}, ops::to_host<double>(ctx_, totals));
}

// Losses are on the last stage; the targets are counted there too.
int64_t TrainingStep::num_targets(std::span<const MicroBatch> micro_batches) const {
  if (parallel_.pipeline().rank() != parallel_.pipeline().size() - 1) return 0;
  int64_t num_targets = 0;
  for (const MicroBatch& mb : micro_batches) num_targets += mb.num_targets;
  return num_targets;
}

void TrainingStep::count_targets(std::span<const MicroBatch> micro_batches) {
  ops::fill(ctx_, num_targets_, static_cast<double>(num_targets(micro_batches)));
}

void TrainingStep::sum_totals(const Tensor& totals) {
  ops::copy(ctx_, loss_sum_, totals.slice(0, 1));
  ops::copy(ctx_, num_targets_, totals.slice(1, 2));
  parallel_.gradients().all_reduce(ctx_.stream(), totals);
  parallel_.pipeline().all_reduce(ctx_.stream(), totals);
}

}  // namespace trireme
