// The steps of a run: begun, applied or skipped, and measured.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "launch/run/rank_trainer.h"
#include "models/cost/model_size.h"
#include "runtime/base/error.h"
#include "runtime/comm/agreed_end.h"
#include "runtime/comm/record/recorder.h"

namespace trireme::launch {

// At the first step through quantization learned scales are measured, and past it they are those of the
// checkpoint.
void Trainer::begin_quantization(int64_t step) {
  if (quantizes_ || !config_.model.quantization || step < config_.qat.start_step) return;
  session_->set_quantizes(true, step == config_.qat.start_step);
  quantizes_ = true;
}

StepInFlight Trainer::begin_step(int64_t step) {
  const auto begin = Clock::now();
  if (breakdown_) breakdown_->clock().begin_step();
  begin_quantization(step);
  const double waited_before = world_.seconds_waited_with_parts();
  const double data_waited = batches_->seconds_waited();
  if (ctx_.recorder() != nullptr) ctx_.recorder()->enter({Phase::data, step + 1, -1, -1});
  if (trace_) trace_->begin_data_wait();
  auto micro_batches = batches_->next(config_.accumulation());
  if (trace_) trace_->end_data_wait();
  if (job_.orders != nullptr) {
    const int64_t now = micro_batches.front().first_sample, batch = config_.train.global_batch;
    job_.orders->step(now, step + 1 < config_.train.steps ? now + batch : -1);
  }
  if (teacher_) teacher_->attach(micro_batches);
  Communicator& experts = session_->parallel().experts();
  const int64_t bytes_before = experts.bytes_exchanged();
  StepMetrics m;
  m.step = step + 1;
  m.lr = schedule_.at(step - loss_scaler_.state().skips);  // a skipped step is no step of the schedule
  PendingStep pending = session_->step().forward_backward(micro_batches, loss_scaler_.scale());
  const StepNumbers numbers = pending.numbers();
  StepInFlight now{begin, std::move(micro_batches), numbers, std::move(pending), std::move(m)};
  if (breakdown_) breakdown_->clock().enter(Activity::other);
  if (runs_ahead_) apply(now);
  now.metrics.dispatch_bytes = experts.bytes_exchanged() - bytes_before;
  for (const RouterLoad& load : session_->step().router_loads())
    now.metrics.routers.push_back(router_metrics(load));
  now.metrics.comm_wait_ms = (world_.seconds_waited_with_parts() - waited_before) * 1e3;
  now.metrics.data_wait_ms = (batches_->seconds_waited() - data_waited) * 1e3;
  return now;
}

void Trainer::apply(StepInFlight& in_flight) {
  if (checkpoints_) {
    const ScopedActivity stands(clock(), Activity::checkpoint);
    checkpoints_->release(ctx_.stream());
  }
  is_updating_ = true;
  if (breakdown_) breakdown_->clock().follow_phases();
  session_->step().apply(std::move(*std::exchange(in_flight.pending, std::nullopt)), in_flight.metrics.lr);
  if (breakdown_) breakdown_->clock().enter(Activity::other);
  is_updating_ = false;
}

StepMetrics Trainer::end_step(StepInFlight in_flight) {
  const double waited_before = world_.seconds_waited_with_parts();
  StepMetrics m = in_flight.metrics;
  const BatchTotals totals = in_flight.numbers.totals();
  m.loss = totals.mean_loss();
  m.aux_loss = totals.mean_of(totals.aux_loss_sum);
  m.router_z_loss = totals.mean_of(totals.z_loss_sum);
  if (config_.loss.adds_terms() || config_.distill || kept_streams(config_.model, config_.exit) > 0)
    m.objective = totals.mean_objective();
  m.grad_norm = in_flight.numbers.gradient_norm();
  m.loss_scale = totals.loss_scale;
  m.skipped = !std::isfinite(m.grad_norm);
  if (m.skipped) {
    skip_step(in_flight, m);
  } else {
    if (in_flight.pending) apply(in_flight);
    loss_scaler_.count(true);
    m.loss_z = loss_z_.push(m.loss);
    m.grad_norm_z = grad_norm_z_.push(m.grad_norm);
  }
  if (const Pruner* pruner = session_->step().pruner()) m.zeros = pruner->part_zero();
  steps_done_ = m.step;
  m.skips = loss_scaler_.state().skips;
  tokens_seen_ += config_.tokens_per_step();
  samples_seen_ += config_.train.global_batch;
  m.tokens = tokens_seen_;
  // Where steps overlap on the host each is given the time since the one before it ended.
  m.step_ms = seconds_since(std::max(in_flight.begin, last_end_)) * 1e3;
  last_end_ = Clock::now();
  seconds_in_steps_ += m.step_ms * 1e-3;
  m.comm_wait_ms += (world_.seconds_waited_with_parts() - waited_before) * 1e3;
  if (checkpoints_) {
    m.checkpoint_wait_ms = checkpoints_->take_seconds_stopped() * 1e3;
    m.checkpoints_skipped = checkpoints_->num_skipped();
  }
  m.time = unix_time();
  m.tok_s = static_cast<double>(config_.tokens_per_step()) / m.step_ms * 1e3;
  const double flops = training_flops_per_token(config_.model, config_.train.seq_len) * m.tok_s;
  m.tflops = flops * 1e-12;
  m.mfu = peak_->share_of(flops);
  m.peak_tflops = peak_->peak().flops * 1e-12;
  constexpr double kHeldUp = 0.1;  // of the step
  m.core_wait_ms = core_waits_->take() * 1e3;
  const bool is_held_up = m.core_wait_ms > kHeldUp * m.step_ms;
  m.is_mfu_sure = peak_->peak().is_sure() && !is_held_up;
  if (trace_) trace_->end_step(m.tok_s);
  const MemoryStats memory = memory_->stats();
  m.mem_bytes = memory.total.peak;
  m.reserved_bytes = memory.peak_reserved;
  if (m.step % config_.train.log_every == 0 || m.step == config_.train.steps)
    m.memory = memory_->end_window(world_, ctx_.host_stream());
  if (breakdown_) account(m);
  return m;
}

void Trainer::account(StepMetrics& m) {
  const bool ends_window = m.step % config_.train.log_every == 0 || m.step == config_.train.steps;
  if (ends_window && is_on_cpu()) breakdown_->meet();
  if (m.step == steps_begun_) breakdown_->clock().end_step();  // else the next one has ended it
  if (!ends_window) return;
  RankedBreakdown window = breakdown_->end_window(m.mem_bytes);
  m.breakdown = std::move(window.all);
  if (world_.size() == 1) return;
  m.ranks = std::move(window.ranks);
  const SlowRank& slow = breakdown_->slowest();
  m.slowest_rank = slow.rank;
  m.slowest_ratio = slow.ratio;
  m.is_straggler = slow.is_straggler();
  if (!is_main()) return;
  for (const std::string& warning : breakdown_->warnings()) {
    progress_->note(warning);
    record(EventKind::straggler, warning.substr(warning.find(": ") + 2));
  }
}

// All ranks come here together: the norm is finite on all or on none.
void Trainer::skip_step(StepInFlight& in_flight, const StepMetrics& m) {
  TrainingStep& step = session_->step();
  // One that was applied has changed no weight: it is taken again.
  PendingStep pending = in_flight.pending ? std::move(*in_flight.pending)
                                          : step.forward_backward(in_flight.micro_batches, m.loss_scale);
  const auto culprit = step.find_nonfinite(pending);
  step.skip(std::move(pending));
  notice_ = fmt::format("step {}: the loss is {} and the gradient norm {}", m.step, m.loss, m.grad_norm);
  if (culprit) notice_ += "; first non-finite " + describe(*culprit);
  std::string why = loss_scaler_.count(false);
  if (config_.train.nonfinite == NonFinitePolicy::stop) why = "--train.nonfinite is stop";
  if (!why.empty()) {
    throw AgreedEnd(ExitCode::numerics,
                    fmt::format("{}. The run ends: {}. {}", notice_, why, save_unfinished()));
  }
  if (config_.train.loss_scale.dynamic) {
    notice_ += fmt::format("; skipped, loss scale {} -> {}", m.loss_scale, loss_scaler_.scale());
  } else {
    notice_ += "; skipped";
  }
}

}  // namespace trireme::launch
