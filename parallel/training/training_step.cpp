#include "parallel/training/training_step.h"

#include <algorithm>
#include <cmath>

#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

Tensor zero_sum(Context& ctx) {
  const Tensor sum = Tensor::empty(ctx, {1}, DType::f64, MemoryCategory::buffers);
  ops::fill(ctx, sum, 0);
  return sum;
}

// Waits for the stream and reads one number.
double read(Context& ctx, const Tensor& t) {
  double value = 0;
  ops::copy(ctx, t, Tensor::borrow(&value, {1}, DType::f64));
  ctx.stream().synchronize();
  return value;
}

}  // namespace

StateDivision TrainingStepOptions::division(const ParallelContext& parallel) const {
  StateDivision division{.zero_stage = zero_stage, .bucket_bytes = bucket_bytes};
  if (zero_stage > 0) {
    division.parts = parallel.gradients().size();
    division.part = parallel.gradients().rank();
  }
  return division;
}

TrainingStep::TrainingStep(Context& ctx, const ParallelContext& parallel, Stage& stage,
                           ParameterStorage& storage, const TrainingStepOptions& options)
    : ctx_(ctx),
      parallel_(parallel),
      stage_(stage),
      storage_(storage),
      clip_(options.clip),
      reducer_(parallel.gradients(), storage, options.overlap),
      optimizer_(ctx, storage, options.adamw),
      gatherer_(parallel.gradients()) {
  TRIREME_CHECK(storage.division() == options.division(parallel),
                "the storage was laid out for another step: ZeRO stage {}, {} parts, buckets of {} bytes",
                storage.division().zero_stage, storage.division().parts, storage.division().bucket_bytes);
}

BatchTotals TrainingStep::accumulate(std::span<MicroBatch> micro_batches) {
  const Tensor loss_sum = zero_sum(ctx_);
  int64_t num_targets = 0;
  for (size_t i = 0; i < micro_batches.size(); ++i) {
    MicroBatch& mb = micro_batches[i];
    mb.training = true;
    mb.loss_sum = loss_sum;
    num_targets += mb.num_targets;
    StageSaved saved;
    stage_.forward(ctx_, mb, Tensor(), saved);
    const auto expected = [this](std::span<const ParameterBlock* const> blocks) {
      reducer_.expect(ctx_, blocks);
    };
    GradientsReady ready;
    if (i + 1 == micro_batches.size()) {
      ready = [this](std::span<ParameterBlock* const> blocks) { reducer_.ready(ctx_, blocks); };
    }
    stage_.backward(ctx_, Tensor(), saved, ready, expected);
  }
  reducer_.finish(ctx_);
  return reduce_totals(loss_sum, num_targets);
}

double TrainingStep::gradient_norm(const BatchTotals& totals) {
  if (totals.num_targets == 0) return 0;
  const Tensor squares = zero_sum(ctx_);
  for (const ParameterGroup& group : storage_.groups()) {
    const IndexRange whole[] = {{0, group.numel}};
    add_sum_of_squares(ctx_, parallel_.gradients(), group, whole, squares);
  }
  return std::sqrt(read(ctx_, squares)) / static_cast<double>(totals.num_targets);
}

void TrainingStep::update(const BatchTotals& totals, double norm, double lr) {
  const double mean = 1.0 / static_cast<double>(std::max<int64_t>(totals.num_targets, 1));
  const double shrink = clip_ > 0 && norm > clip_ ? clip_ / norm : 1.0;
  optimizer_.step(ctx_, lr, mean * shrink,
                  [this](const ParameterGroup& group, const ParameterBucket& bucket) {
                    gatherer_.start(ctx_.stream(), group, bucket);
                  });
  storage_.zero_gradients(ctx_);
  gatherer_.finish();
}

void TrainingStep::for_each_weight(const std::function<void(const Parameter&, const Tensor&)>& visit) {
  MasterReader reader(ctx_, parallel_.gradients());
  for (const ParameterView& view : storage_.parameters()) visit(*view.parameter, reader.read(view));
}

BatchTotals TrainingStep::evaluate(std::span<MicroBatch> micro_batches) {
  const Tensor loss_sum = zero_sum(ctx_);
  int64_t num_targets = 0;
  for (MicroBatch& mb : micro_batches) {
    mb.training = false;
    mb.loss_sum = loss_sum;
    num_targets += mb.num_targets;
    StageSaved saved;
    stage_.forward(ctx_, mb, Tensor(), saved);
  }
  return reduce_totals(loss_sum, num_targets);
}

BatchTotals TrainingStep::reduce_totals(const Tensor& loss_sum, int64_t num_targets) {
  const Tensor totals = Tensor::empty(ctx_, {2}, DType::f64, MemoryCategory::buffers);
  ops::copy(ctx_, loss_sum, totals.slice(0, 1));
  ops::fill(ctx_, totals.slice(1, 2), static_cast<double>(num_targets));
  parallel_.gradients().all_reduce(ctx_.stream(), totals);
  return {read(ctx_, totals.slice(0, 1)), std::llround(read(ctx_, totals.slice(1, 2)))};
}

}  // namespace trireme
