#include "launch/run/rank_trainer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <utility>

#include "launch/config/attention_choice.h"
#include "launch/config/session_options.h"
#include "launch/preflight/choose_device.h"
#include "launch/preflight/preflight.h"
#include "launch/process/stop_request.h"
#include "launch/report/number_text.h"
#include "launch/run/sample_orders.h"
#include "models/cost/model_size.h"
#include "runtime/base/error.h"
#include "runtime/comm/agreed_end.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme {

namespace {

double seconds_since(Trainer::Clock::time_point start) {
  return std::chrono::duration<double>(Trainer::Clock::now() - start).count();
}

double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

int threads_of_rank(const RunConfig& config, const Job& job) {
  return config.run.threads > 0 ? config.run.threads : default_threads(cores_given(), job.local_size);
}

Trainer::Trainer(const RunConfig& config, std::string_view config_ini, const Job& job, std::FILE* out)
    : config_(config),
      config_ini_(config_ini),
      job_(job),
      world_(*job.world),
      out_(out),
      ctx_(job.device, threads_of_rank(config, job), choose_op_settings(config.run, job.device)),
      loss_scaler_(config.train.loss_scale),
      runs_ahead_(can_run_ahead()) {
  data_ = load_training_data(ctx_, world_, config_.data, config_.model.vocab_size);
  config_.model.vocab_size = data_.vocab_size;
  reader_.emplace(data_.train, training_order(config_, data_), data_.vocab_size, data_.end_of_text);
  if (data_.validation)
    validation_.emplace(data_.validation, validation_order(config_, data_), data_.vocab_size,
                        data_.end_of_text);
  if (data_.tokenizer)
    config_.train.sample_prompt = usable_prompt(config_.train, *data_.tokenizer, prompt_note_);
  check_memory();
  if (!config_.start.file.empty()) check_tokenizer_of_weights(data_, config_.start.file);
  session_.emplace(ctx_, world_, config_.parallel, config_.model, session_options(config_));
  const ParallelContext& parallel = session_->parallel();
  wait_times_.emplace(parallel);
  replica_ = {parallel.data().rank(), parallel.data().size(), session_->share()};
  const OptimizerConfig& o = config_.optimizer;
  schedule_ = {o.schedule, o.lr, o.min_lr, o.warmup, config_.train.steps, o.decay_fraction};
}

void Trainer::start() {
  StopRequest::defer();
  peak_.emplace(ctx_, world_, config_.train.precision, PeakStore(PeakStore::default_path()));
  if (is_main()) open_directory();
  share_log();
  const TrainConfig& t = config_.train;
  peak_->measure(training_flops_per_token(config_.model, t.seq_len) *
                 static_cast<double>(config_.tokens_per_step()) * static_cast<double>(t.steps));
  rates_.flops = peak_->rank_flops();
  if (config_.run.profile_step > 0) rates_.bytes = ops::measure_memory_rate(ctx_);
  ctx_.allocator().trim();  // training does not need the tensors of those measurements
  ctx_.allocator().reset_peaks();
}

void Trainer::check_memory() {
  const std::string fault = memory_fault(config_, ctx_.num_threads(), is_on_cpu() ? job_.local_size : 1,
                                         available_memory(ctx_.device()));
  // One says it for all of its host; and no rank takes memory that another still counts.
  double first = fault.empty() ? world_.size() : world_.rank();
  world_.all_reduce(ctx_.host_stream(), Tensor::borrow(&first, {1}, DType::f64), ReduceOp::min);
  if (static_cast<int>(first) == world_.rank()) throw EnvironmentError(fault);
  if (first < world_.size()) world_.barrier(ctx_.stream());  // until that rank ends the job
}

void Trainer::open_directory() {
  directory_.emplace(wanted_directory(config_), config_ini_);
  set_log(std::filesystem::absolute(directory_->path() / "log.txt").string());
  progress_.emplace(out_, is_watched(out_), config_.train.steps, config_.train.log_every,
                    [this](std::string_view line) { directory_->log(line); });
  RunPlace place;
  place.hosts = job_.hosts;
  place.device = device_text(ctx_.device());
  if (!is_on_cpu()) place.attention = attention_text(config_.run, why_no_cudnn(config_));
  place.backend = world_.backend();
  place.threads_per_rank = ctx_.num_threads();
  place.tokens = data_.description;
  place.run_directory = directory_->path().string();
  std::string text = banner(config_, place);
  text.pop_back();  // its last line's end
  progress_->note(text);
  if (const std::string warning = is_on_cpu() ? thread_warning(peak_->hosts()) : ""; !warning.empty())
    progress_->note("warning: " + warning);
  check_room(directory_->path(), model_file_bytes(config_.model));
}

void Trainer::set_log(const std::string& path) {
  log_path_ = path;
  if (job_.log != nullptr) job_.log->set_path(path);
}

void Trainer::share_log() {
  std::array<char, 4096> shared{};
  log_path_.copy(shared.data(), shared.size() - 1);
  world_.broadcast(ctx_.host_stream(), Tensor::borrow(shared.data(), {shared.size()}, DType::u8), 0);
  set_log(shared.data());
}

int Trainer::agreed_signal() {
  if (signal_ != 0) return signal_;
  std::array<double, 2> wishes = {static_cast<double>(StopRequest::signal()), peak_->is_due() ? 1.0 : 0.0};
  world_.all_reduce(ctx_.host_stream(), Tensor::borrow(wishes.data(), {2}, DType::f64), ReduceOp::max);
  is_peak_due_ = wishes[1] > 0;
  return signal_ = static_cast<int>(wishes[0]);
}

void Trainer::measure_peak_again() {
  if (!is_peak_due_) return;
  is_peak_due_ = false;
  peak_->measure_again();
  rates_.flops = peak_->rank_flops();
  if (is_main()) progress_->note(fmt::format("measured again, since a step reached more: {}", peak_->text()));
  core_waits_->take();
  last_end_ = Clock::now();
}

double Trainer::sum_over_ranks(double value) {
  world_.all_reduce(ctx_.host_stream(), Tensor::borrow(&value, {1}, DType::f64));
  return value;
}

std::optional<double> Trainer::evaluate() {
  if (!validation_) return std::nullopt;
  const TrainConfig& t = config_.train;
  // So many at once that a pipeline is seldom empty, and that they are small beside all else.
  const int num_stages = config_.parallel.pipeline;
  const int64_t most = num_stages == 1 ? 4 : 8 * num_stages;
  EvaluationBatches batches(
      ctx_, *validation_, replica_,
      num_evaluated(validation_->order().samples_per_epoch(), t.eval_batches, t.global_batch), t.micro_batch,
      config_.data.prefetch > 0 ? 2 * most : 0);
  if (progress_) progress_->begin_evaluation();
  const BatchTotals totals = session_->step().evaluate_from([&] {
    if (agreed_signal() != 0) return std::vector<MicroBatch>();
    if (progress_) progress_->evaluating(batches.num_done(), batches.num_samples());
    return batches.next(most);
  });
  if (signal_ != 0) return std::nullopt;
  return totals.mean_loss();
}

StepUnderWay Trainer::begin_step(int64_t step, StepProfile* profile) {
  const auto begin = Clock::now();
  wait_times_->start();
  const double data_waited = batches_->seconds_waited();
  if (profile != nullptr) profile->begin_wait(ctx_.stream(), "data", "next_batch");
  auto micro_batches = batches_->next(config_.accumulation());
  if (profile != nullptr) profile->end_wait(ctx_.stream());
  Communicator& experts = session_->parallel().experts();
  const int64_t bytes_before = experts.bytes_exchanged();
  StepMetrics m;
  m.step = step + 1;
  m.lr = schedule_.at(step - loss_scaler_.state().skips);  // a skipped step is no step of the schedule
  PendingStep pending = session_->step().forward_backward(micro_batches, loss_scaler_.scale());
  const StepNumbers numbers = pending.numbers();
  StepUnderWay now{begin, std::move(micro_batches), numbers, std::move(pending), std::move(m)};
  if (runs_ahead_) apply(now);
  now.metrics.dispatch_bytes = experts.bytes_exchanged() - bytes_before;
  for (const RouterLoad& load : session_->step().router_loads())
    now.metrics.routers.push_back(router_metrics(load));
  now.metrics.comm_wait_ms = wait_times_->stop() * 1e3;
  now.metrics.data_wait_ms = (batches_->seconds_waited() - data_waited) * 1e3;
  return now;
}

void Trainer::apply(StepUnderWay& under_way) {
  is_updating_ = true;
  session_->step().apply(std::move(*std::exchange(under_way.pending, std::nullopt)), under_way.metrics.lr);
  is_updating_ = false;
}

StepMetrics Trainer::end_step(StepUnderWay under_way) {
  wait_times_->start();
  StepMetrics m = under_way.metrics;
  const BatchTotals totals = under_way.numbers.totals();
  m.loss = totals.mean_loss();
  m.aux_loss = totals.mean_of(totals.aux_loss_sum);
  m.router_z_loss = totals.mean_of(totals.z_loss_sum);
  if (config_.loss.adds_terms()) m.objective = totals.mean_objective();
  m.grad_norm = under_way.numbers.gradient_norm();
  m.loss_scale = totals.loss_scale;
  m.skipped = !std::isfinite(m.grad_norm);
  if (m.skipped) {
    skip_step(under_way, m);
  } else {
    if (under_way.pending) apply(under_way);
    loss_scaler_.count(true);
    m.loss_z = loss_z_.push(m.loss);
    m.grad_norm_z = grad_norm_z_.push(m.grad_norm);
  }
  steps_done_ = m.step;
  m.skips = loss_scaler_.state().skips;
  tokens_seen_ += config_.tokens_per_step();
  m.tokens = tokens_seen_;
  // Where steps overlap on the host each is given the time since the one before it ended.
  m.step_ms = seconds_since(std::max(under_way.begin, last_end_)) * 1e3;
  last_end_ = Clock::now();
  seconds_in_steps_ += m.step_ms * 1e-3;
  m.comm_wait_ms += wait_times_->stop() * 1e3;
  m.time = unix_time();
  m.tok_s = static_cast<double>(config_.tokens_per_step()) / m.step_ms * 1e3;
  const double flops = training_flops_per_token(config_.model, config_.train.seq_len) * m.tok_s;
  m.tflops = flops * 1e-12;
  m.mfu = peak_->share_of(flops);
  m.peak_tflops = peak_->peak().flops * 1e-12;
  constexpr double kHeldUp = 0.1;  // of the step
  const bool is_held_up = core_waits_->take() > kHeldUp * m.step_ms * 1e-3;
  m.is_mfu_sure = peak_->peak().is_sure() && !is_held_up;
  const MemoryStats memory = ctx_.allocator().stats();
  m.mem_bytes = memory.total.peak;
  m.reserved_bytes = memory.peak_reserved;
  return m;
}

// All ranks come here together: the norm is finite on all or on none.
void Trainer::skip_step(StepUnderWay& under_way, const StepMetrics& m) {
  TrainingStep& step = session_->step();
  // One that was applied has changed no weight: it is taken again.
  PendingStep pending = under_way.pending ? std::move(*under_way.pending)
                                          : step.forward_backward(under_way.micro_batches, m.loss_scale);
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

void Trainer::train_steps() {
  const TrainConfig& t = config_.train;
  const auto begin = Clock::now();
  const int64_t ahead = config_.data.prefetch;
  batches_.emplace(ctx_, *reader_, replica_.share,
                   training_samples(replica_, t.steps, t.global_batch, t.micro_batch),
                   ahead > 0 ? (ahead + 1) * config_.accumulation() : 0);
  StepMetrics start;
  start.val_loss = evaluate();
  start.time = unix_time();
  if (is_main()) {
    progress_->note(peak_->text());
    if (!prompt_note_.empty()) progress_->note("note: " + prompt_note_);
    if (start.val_loss) report(start);
  }
  check_signal(0);
  core_waits_.emplace(is_on_cpu() ? ctx_.num_threads() : 1);
  std::optional<StepUnderWay> before;
  for (int64_t step = 0; step < t.steps; ++step) {
    const bool is_evaluated = step + 1 == t.steps || (t.eval_every > 0 && (step + 1) % t.eval_every == 0);
    const auto end_before = [&] {
      if (before) report(end_step(*std::exchange(before, std::nullopt)));
    };
    std::optional<StepProfile> profile;
    if (step + 1 == config_.run.profile_step) {
      end_before();  // or its end would be in the profile
      profile.emplace(ctx_, session_->parallel());
    }
    StepUnderWay now = begin_step(step, profile ? &*profile : nullptr);
    end_before();
    if (runs_ahead_ && !is_evaluated && !profile) {
      before = std::move(now);
      if (agreed_signal() != 0) end_before();
      check_signal(step + 1);
      measure_peak_again();
      continue;
    }
    StepMetrics m = end_step(std::move(now));
    const std::string account = profile ? finish(*profile) : "";
    if (is_evaluated) m.val_loss = evaluate();
    report(m);
    if (!account.empty()) progress_->note(account);
    if (step + 1 < t.steps) {
      check_signal(step + 1);
      measure_peak_again();
    }
    if (is_evaluated) core_waits_->take();  // of the evaluation
  }
  seconds_ = seconds_since(begin);
}

std::string Trainer::finish(StepProfile& profile) {
  const std::string file = is_main() ? (directory_->path() / "profile.json").string() : "";
  const std::string text = profile.finish(rates_, file);
  if (text.empty()) return "";
  return fmt::format("where step {} went; op by op in {}\n{}", config_.run.profile_step, file, text);
}

void Trainer::report(const StepMetrics& m) {
  if (!is_main()) return;
  directory_->write(m);
  if (m.skipped) progress_->note(notice_);
  if (m.step > 0) progress_->step(m);
  if (m.val_loss) progress_->evaluation(m);
  for (const std::string& failure : directory_->take_failures()) progress_->note("note: " + failure);
}

}  // namespace trireme
