#include "launch/verify/stepwise_run.h"

#include <algorithm>
#include <cstring>

#include "launch/config/attention_choice.h"
#include "launch/config/step_options.h"
#include "launch/verify/weight_copies.h"
#include "models/transformer/checkpointed_transformer.h"
#include "parallel/checkpoint/collect_parameters.h"
#include "parallel/checkpoint/load_weights.h"
#include "parallel/checkpoint/router_biases.h"
#include "runtime/base/philox.h"
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

}  // namespace

StepwiseRun::StepwiseRun(Communicator& world, const RunConfig& config, Device device, RunHooks* hooks)
    : config_(config),
      parallel_(world, config.parallel),
      ctx_(device, config.run.threads, choose_op_settings(config.run, device)),
      options_(step_options(config)),
      model_(ctx_, parallel_, config.model,
             {.max_seq_len = config.train.seq_len,
              .compute_type = config.train.precision,
              .sharding = options_.sharding(parallel_),
              .recomputation = config.train.recomputation,
              .float8 = config.train.float8}),
      step_(ctx_, parallel_, model_.part(), options_),
      hooks_(hooks),
      trace_(parallel_, model_, config.accumulation() * parallel_.data().size()),
      choices_(parallel_, model_, config) {
  model_.storage().initialize(ctx_, config.train.seed);
  if (!config.start.file.empty())
    load_weights(ctx_, checkpointed(model_), config.start.file, config.start.upcycle);
  if (hooks_ != nullptr) hooks_->made(ctx_, model_);
  for (Stage& stage : model_.part().chunks) stage.observe(trace_);
}

std::vector<MicroBatch> StepwiseRun::read_step() {
  const TrainConfig& t = config_.train;
  const ContextShare share = ContextParallel(parallel_).share();
  std::vector<MicroBatch> out;
  std::vector<int32_t> inputs(static_cast<size_t>(t.micro_batch * t.seq_len)), targets(inputs.size());
  for (int64_t m = 0; m < config_.accumulation(); ++m) {
    const int64_t first =
        next_ * t.global_batch + (m * parallel_.data().size() + parallel_.data().rank()) * t.micro_batch;
    for (int64_t b = 0; b < t.micro_batch; ++b) {
      const auto at = static_cast<size_t>(b * t.seq_len);
      read_sample(config_, first + b, &inputs[at], &targets[at]);
    }
    out.push_back(make_micro_batch(ctx_, t.micro_batch, t.seq_len, inputs, targets, share));
    out.back().first_sample = first;
  }
  return out;
}

RecordedStep StepwiseRun::run_passes() {
  auto batches = read_step();
  if (hooks_ != nullptr) hooks_->before_passes(next_, ctx_, model_, batches);
  choices_.begin(next_ * config_.train.global_batch);
  // fp16 has no small gradients without one, and elsewhere a power of two changes no bit.
  constexpr double kLossScale = 1024;
  RecordedStep recorded;
  const BatchTotals totals = step_.accumulate(batches, kLossScale);
  if (hooks_ != nullptr) hooks_->before_update(next_, ctx_, model_);
  recorded.loss = totals.mean_of(totals.loss_sum + totals.aux_loss_sum + totals.z_loss_sum);
  recorded.grad_norm = step_.gradient_norm();
  recorded.mean = 1.0 / (kLossScale * static_cast<double>(std::max<int64_t>(totals.num_targets, 1)));
  recorded.trace = trace_.take(ctx_);
  recorded.choices = choices_.take(ctx_);
  recorded.differences = choices_.differences();
  recorded.gradients = collect(ParameterState::gradient);
  return recorded;
}

void StepwiseRun::update() {
  step_.update(config_.optimizer.lr);
  if (hooks_ != nullptr) hooks_->after_update(next_, ctx_, model_);
  ++next_;
}

NamedTensors StepwiseRun::weights() { return collect(ParameterState::master); }

NamedTensors StepwiseRun::collect(ParameterState state) {
  NamedTensors all;
  collect_parameters(ctx_, parallel_, checkpointed(model_), step_, state,
                     [&](const Parameter& p, const Tensor& t) { all[p.name] = ops::to_host_f32(ctx_, t); });
  return all;
}

NamedTensors StepwiseRun::biases() { return router_biases(ctx_, parallel_, checkpointed(model_)); }

std::string StepwiseRun::copies_unlike() { return weight_copies_unlike(ctx_, parallel_, model_); }

void StepwiseRun::set_weights(const NamedTensors& weights) {
  model_.storage().set(ctx_, [&](const Parameter& p, const Tensor& t) {
    ops::write(ctx_, weights.at(p.name), t);
    return true;
  });
}

void StepwiseRun::set_biases(const NamedTensors& biases) {
  for (RouterBalance* router : model_.part().routers()) {
    if (!router->bias.empty()) router->bias = biases.at(router->name + ".bias");
  }
}

}  // namespace trireme
