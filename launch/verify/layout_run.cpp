#include "launch/verify/layout_run.h"

#include "launch/trainer/attention_choice.h"
#include "launch/trainer/collect_parameters.h"
#include "launch/trainer/load_weights.h"
#include "launch/trainer/step_options.h"
#include "launch/verify/layout_trace.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

constexpr uint64_t kSampleKey = 0x5eed;

// Sample `index` of the run depends on nothing else.
void read_sample(const RunConfig& config, int64_t index, int32_t* inputs, int32_t* targets) {
  const auto vocab = static_cast<uint32_t>(config.model.vocab_size);
  const auto token = [&](int64_t t) {
    return static_cast<int32_t>(
        philox4x32(kSampleKey, static_cast<uint64_t>(index), static_cast<uint64_t>(t))[0] % vocab);
  };
  for (int64_t t = 0; t < config.train.seq_len; ++t) {
    inputs[t] = token(t);
    targets[t] = (index + t) % 7 == 0 ? ops::kIgnoredTarget : token(t + 1);
  }
}

std::vector<MicroBatch> read_step(Context& ctx, const RunConfig& config, const ParallelContext& parallel,
                                  int64_t step) {
  const TrainConfig& t = config.train;
  const ContextShare share = ContextParallel(parallel).share();
  std::vector<MicroBatch> out;
  std::vector<int32_t> inputs(static_cast<size_t>(t.micro_batch * t.seq_len)), targets(inputs.size());
  for (int64_t m = 0; m < config.accumulation(); ++m) {
    const int64_t first =
        step * t.global_batch + (m * parallel.data().size() + parallel.data().rank()) * t.micro_batch;
    for (int64_t b = 0; b < t.micro_batch; ++b) {
      const auto at = static_cast<size_t>(b * t.seq_len);
      read_sample(config, first + b, &inputs[at], &targets[at]);
    }
    out.push_back(make_micro_batch(ctx, t.micro_batch, t.seq_len, inputs, targets, share));
    out.back().first_sample = first;
  }
  return out;
}

std::vector<float> host_values(Context& ctx, const Tensor& t, double factor) {
  std::vector<float> values = ops::to_host_f32(ctx, t);
  for (float& v : values) v = static_cast<float>(v * factor);
  return values;
}

}  // namespace

LayoutRecord record_layout(Communicator& world, const RunConfig& config, Device device,
                           StageObserver* observer) {
  const ParallelContext parallel(world, config.parallel);
  Context ctx(device, config.run.threads, choose_op_settings(config.run, device));
  const TrainingStepOptions options = step_options(config);
  Transformer model(ctx, parallel, config.model, config.train.seq_len, config.train.precision,
                    options.division(parallel), config.train.recomputation, config.train.float8);
  model.storage().initialize(ctx, config.train.seed);
  if (!config.start.file.empty()) load_weights(ctx, model, config.start.file, config.start.upcycle);
  TrainingStep step(ctx, parallel, model.part(), options);
  LayoutTrace trace(parallel, model, config.accumulation() * parallel.data().size());
  for (Stage& stage : model.part().chunks) {
    if (observer != nullptr) stage.observe(*observer);
    stage.observe(trace);
  }
  // fp16 has no small gradients without one.
  const double scale = config.train.precision == DType::f16 ? 1024 : 1;
  LayoutRecord record;
  for (int64_t s = 0; s < config.train.steps; ++s) {
    auto batches = read_step(ctx, config, parallel, s);
    const BatchTotals totals = step.accumulate(batches, scale);
    RecordedStep& recorded = record.steps.emplace_back();
    recorded.loss = totals.mean_loss();
    recorded.grad_norm = step.gradient_norm();
    recorded.trace = trace.take(ctx);
    const double mean = 1.0 / (scale * static_cast<double>(std::max<int64_t>(totals.num_targets, 1)));
    collect_parameters(
        ctx, parallel, model, step, ParameterState::gradient,
        [&](const Parameter& p, const Tensor& t) { recorded.gradients[p.name] = host_values(ctx, t, mean); });
    step.update(config.optimizer.lr);
  }
  collect_parameters(
      ctx, parallel, model, step, ParameterState::master,
      [&](const Parameter& p, const Tensor& t) { record.weights[p.name] = host_values(ctx, t, 1); });
  return record;
}

LayoutRecord record_one_rank(const RunConfig& config, Device device) {
  RunConfig one = config;
  one.parallel = {.data = 1};
  one.train.recomputation = {};
  const auto self = make_self_communicator();
  return record_layout(*self, one, device);
}

}  // namespace trireme
