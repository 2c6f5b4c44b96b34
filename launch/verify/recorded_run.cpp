#include "launch/verify/recorded_run.h"

#include <cmath>
#include <optional>

#include "launch/config/attention_choice.h"
#include "launch/config/session_options.h"
#include "launch/verify/weight_copies.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/philox.h"
#include "runtime/ops/host_copy.h"
#include "runtime/ops/training/cross_entropy.h"

namespace trireme::launch {

namespace {

constexpr uint64_t kSampleKey = 0x5eed;

// Ends documents, where they are kept apart: on average each has four tokens.
constexpr uint32_t kDocumentTokens = 4;
std::optional<int32_t> end_of_text(const RunConfig& config) {
  if (config.data.documents == DocumentsKind::attend) return std::nullopt;
  return static_cast<int32_t>(config.model.vocab_size - 1);
}

// Sample `index` of the run depends on nothing else.
void read_sample(const RunConfig& config, int64_t index, int32_t* inputs, int32_t* targets) {
  const auto vocab = static_cast<uint32_t>(config.model.vocab_size);
  const auto token = [&](int64_t t) {
    const auto drawn = philox4x32(kSampleKey, static_cast<uint64_t>(index), static_cast<uint64_t>(t));
    const std::optional<int32_t> end = end_of_text(config);
    return end && drawn[1] % kDocumentTokens == 0 ? *end : static_cast<int32_t>(drawn[0] % vocab);
  };
  for (int64_t t = 0; t < config.train.seq_len; ++t) {
    inputs[t] = token(t);
    targets[t] = (index + t) % 7 == 0 ? ops::kIgnoredTarget : token(t + 1);
  }
}

}  // namespace

RecordedRun::RecordedRun(Communicator& world, const RunConfig& config, Device device, RunHooks* hooks)
    : config_(config),
      ctx_(device, config.run.threads, choose_op_settings(config.run, device)),
      session_(ctx_, world, config.parallel, config.model, session_options(config)),
      run_(session_,
           {config.train.seq_len, config.train.micro_batch, config.train.global_batch, end_of_text(config)},
           [this](int64_t sample, int32_t* inputs, int32_t* targets) {
             read_sample(config_, sample, inputs, targets);
           }),
      hooks_(hooks),
      trace_(session_.parallel(), model(), config.accumulation() * session_.parallel().data().size()),
      choices_(session_.parallel(), model(), config) {
  if (hooks_ != nullptr) hooks_->made(ctx_, model());
  for (Stage& stage : session_.part().chunks) stage.observe(trace_);
}

RecordedStep RecordedRun::run_passes(double loss_scale) {
  auto batches = run_.read();
  if (hooks_ != nullptr) hooks_->before_passes(run_.number(), ctx_, model(), batches);
  const auto pass = [&] {
    choices_.begin(run_.number() * config_.train.global_batch);
    return run_.run_passes(batches, loss_scale);
  };
  StepNumbers numbers = pass();
  while (config_.train.precision == DType::f16 && loss_scale > 1 && !std::isfinite(numbers.gradient_norm())) {
    run_.skip();
    (void)trace_.take(ctx_, loss_scale);
    (void)choices_.take(ctx_);
    loss_scale /= 32;
    numbers = pass();
  }
  if (hooks_ != nullptr) hooks_->before_update(run_.number(), ctx_, model());
  const BatchTotals totals = numbers.totals();
  RecordedStep recorded;
  recorded.loss = totals.mean_objective();
  recorded.grad_norm = numbers.gradient_norm();
  recorded.loss_scale = loss_scale;
  recorded.mean = 1.0 / (loss_scale * totals.divisor());
  recorded.trace = trace_.take(ctx_, loss_scale);
  recorded.choices = choices_.take(ctx_);
  recorded.differences = choices_.differences();
  recorded.gradients = run_.collect(ParameterState::gradient);
  return recorded;
}

void RecordedRun::update() {
  const int64_t number = run_.number();
  run_.apply(config_.optimizer.lr);
  if (hooks_ != nullptr) hooks_->after_update(number, ctx_, model());
}

NamedTensors RecordedRun::biases() {
  return router_biases(ctx_, session_.parallel(), session_.checkpointed());
}

std::string RecordedRun::differing_copies() {
  return differing_weight_copies(ctx_, session_.parallel(), model());
}

void RecordedRun::set_weights(const NamedTensors& weights) {
  session_.storage().set(ctx_, [&](const Parameter& p, const Tensor& t) {
    ops::write(ctx_, weights.at(p.name), t);
    return true;
  });
}

void RecordedRun::set_biases(const NamedTensors& biases) {
  for (RouterBalance* router : session_.part().routers()) {
    if (!router->bias.empty()) router->bias = biases.at(router->name + ".bias");
  }
}

}  // namespace trireme::launch
