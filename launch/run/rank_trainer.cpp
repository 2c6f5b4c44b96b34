#include "launch/run/rank_trainer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <utility>

#include "launch/config/attention_choice.h"
#include "launch/config/memory_inputs.h"
#include "launch/config/session_options.h"
#include "launch/preflight/choose_device.h"
#include "launch/preflight/preflight.h"
#include "launch/process/build_info.h"
#include "launch/process/host_name.h"
#include "launch/process/stop_request.h"
#include "launch/report/banner.h"
#include "launch/report/number_text.h"
#include "launch/run/sample_orders.h"
#include "models/cost/memory_estimate.h"
#include "models/cost/model_size.h"
#include "models/formats/open_weights.h"
#include "models/formats/source_folder.h"
#include "models/layers/distillation.h"
#include "runtime/base/error.h"
#include "runtime/comm/agreed_end.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme::launch {

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
      runs_ahead_(!job.is_stepped && can_run_ahead()),
      quantizes_(config.qat.start_step == 0) {
  count_restart();
  if (job_.orders != nullptr) job_.orders->begin();
  data_ = load_training_data(ctx_, job_.all(), config_.data, config_.model.vocab_size);
  config_.model.vocab_size = data_.vocab_size;
  reader_.emplace(data_.train, training_order(config_, data_), data_.vocab_size, data_.end_of_text);
  if (data_.validation)
    validation_.emplace(data_.validation, validation_order(config_, data_), data_.vocab_size,
                        data_.end_of_text);
  if (data_.tokenizer)
    config_.train.sample_prompt = usable_prompt(config_.train, *data_.tokenizer, prompt_note_);
  find_teacher();
  check_memory();
  if (!config_.start.file.empty() && !starts_fresh()) config_.start = {};
  if (!config_.start.file.empty())
    check_tokenizer_of_weights(data_, file_of(find_weights(config_.start.file)));
  SessionOptions options = session_options(config_);
  if (config_.distill)
    options.objective = std::make_shared<const Distillation>(config_.loss, config_.distill.loss);
  session_.emplace(ctx_, world_, config_.parallel, config_.model, options);
  const ParallelContext& parallel = session_->parallel();
  if (ctx_.recorder() == nullptr) ctx_.set_recorder(&own_recorder_);
  if (found_teacher_) teacher_.emplace(ctx_, job_.all(), config_, *found_teacher_, *reader_, *session_);
  replica_ = {parallel.data().rank(), parallel.data().size(), session_->share()};
  const OptimizerConfig& o = config_.optimizer;
  schedule_ = {o.schedule, o.lr, o.min_lr, o.warmup, config_.train.steps, o.decay_fraction};
}

void Trainer::start() {
  if (!config_.checkpoint.is_on()) StopRequest::defer();
  peak_.emplace(ctx_, world_, config_.train.precision, PeakStore(PeakStore::default_path()));
  claim_directory();
  identify_data();
  open_checkpoints();
  resume();
  if (steps_done_ > config_.qat.start_step) begin_quantization(steps_done_);
  check_checkpoint_room();
  if (is_main()) open_directory();
  const TrainConfig& t = config_.train;
  peak_->measure(training_flops_per_token(config_.model, t.seq_len) *
                 static_cast<double>(config_.tokens_per_step()) * static_cast<double>(t.steps));
  rates_.flops = peak_->rank_flops();
  if (config_.run.profile_step > 0) rates_.bytes = ops::measure_memory_rate(ctx_);
  ctx_.allocator().trim();  // training does not need the tensors of those measurements
  memory_.emplace(ctx_.allocator());
  StopRequest::defer();
  if (resumes_before_) note_resumes(*resumes_before_ + 1);
}

void Trainer::check_memory() {
  const int64_t snapshot = config_.checkpoint.is_on() ? checkpoint_bytes(config_.model) / world_.size() : 0;
  std::string error = memory_error(config_, ctx_.num_threads(), is_on_cpu() ? job_.local_size : 1,
                                   available_memory(ctx_.device()), is_on_cpu() ? snapshot : 0);
  if (error.empty() && !is_on_cpu())
    error = snapshot_memory_error(config_, job_.local_size, available_host_memory(), snapshot);
  // One says it for all of its host; and no rank takes memory that another still counts.
  double first = error.empty() ? world_.size() : world_.rank();
  world_.all_reduce(ctx_.host_stream(), Tensor::borrow(&first, {1}, DType::f64), ReduceOp::min);
  if (static_cast<int>(first) == world_.rank()) throw EnvironmentError(error);
  if (first < world_.size()) world_.barrier(ctx_.stream());  // until that rank ends the job
}

void Trainer::open_directory() {
  std::optional<int64_t> step;
  if (config_.resumes()) step = resumed_step_.value_or(-1);
  directory_.emplace(run_path_, config_ini_, step);
  if (!config_.start.file.empty()) keep_source(config_.start.file, run_path_);
  progress_.emplace(out_, is_watched(out_), config_.train.steps, config_.train.log_every,
                    [this](std::string_view line) { directory_->log(line); });
  RunPlace place;
  place.hosts = job_.hosts;
  place.device = device_text(ctx_.device());
  if (!is_on_cpu()) place.attention = attention_text(config_.run, why_no_cudnn(config_));
  place.backend = world_.backend();
  place.threads_per_rank = ctx_.num_threads();
  place.tokens = data_.description;
  if (found_teacher_) place.teacher = teacher_text(*found_teacher_, config_);
  place.run_directory = directory_->path().string();
  std::string text = banner(config_, place);
  text.pop_back();  // its last line's end
  progress_->note(text);
  record_start();
  if (const std::string warning = is_on_cpu() ? thread_warning(peak_->hosts()) : ""; !warning.empty())
    tell("warning: " + warning);
  for (const std::string& note : start_notes_) tell(note);
  check_room(directory_->path(), model_file_bytes(config_.model));
  save_tokenizer();  // before the first checkpoint, so that each can be tried and exported while the run goes
                     // on
}

void Trainer::save_tokenizer() {
  if (!data_.tokenizer) return;
  try {
    data_.tokenizer->save((directory_->path() / "tokenizer.json").string());
  } catch (const Error& error) {
    progress_->note(fmt::format("note: the tokenizer is not saved: {}", error.what()));
  }
}

void Trainer::record(EventKind kind, const std::string& text) {
  if (directory_) directory_->add({unix_time(), steps_done_, kind, text});
}

void Trainer::record_start() {
  RunEvent event{unix_time(), steps_done_, resumed_step_ ? EventKind::resume : EventKind::start};
  event.facts =
      StartFacts{.version = build_line(),
                 .ranks = world_.size(),
                 .hosts = std::max(1, static_cast<int>(job_.hosts.size())),
                 .layout = layout_line(config_),
                 .predicted_bytes = estimate_memory(memory_inputs(config_, ctx_.num_threads())).total(),
                 .parameters = size_of(config_.model).parameters,
                 .flops_per_token = training_flops_per_token(config_.model, config_.train.seq_len)};
  event.text =
      fmt::format("{}: {}", resumed_step_ ? fmt::format("resumed after step {}", *resumed_step_) : "started",
                  event.facts->layout);
  directory_->add(event);
}

void Trainer::tell(const std::string& line) {
  progress_->note(line);
  if (line.starts_with("warning: ")) record(EventKind::warning, line.substr(9));
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
  std::array<double, 5> requests = {static_cast<double>(StopRequest::signal()), peak_->is_due() ? 1.0 : 0.0};
  if (checkpoints_) std::ranges::copy(checkpoints_->requests(), requests.begin() + 2);
  world_.all_reduce(ctx_.host_stream(), Tensor::borrow(requests.data(), {5}, DType::f64), ReduceOp::max);
  is_peak_due_ = requests[1] > 0;
  if (checkpoints_) checkpoints_->agree({requests[2], requests[3], requests[4]});
  return signal_ = static_cast<int>(requests[0]);
}

void Trainer::measure_peak_again() {
  if (!is_peak_due_) return;
  is_peak_due_ = false;
  const ScopedActivity excluded(clock(), Activity::excluded);
  peak_->measure_again();
  rates_.flops = peak_->rank_flops();
  if (is_main()) progress_->note(fmt::format("measured again, as a step was faster: {}", peak_->text()));
  core_waits_->take();
  last_end_ = Clock::now();
}

double Trainer::sum_over_ranks(double value) {
  world_.all_reduce(ctx_.host_stream(), Tensor::borrow(&value, {1}, DType::f64));
  return value;
}

std::optional<double> Trainer::evaluate() {
  if (!validation_) return std::nullopt;
  const ScopedActivity excluded(clock(), Activity::excluded);
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

void Trainer::train_steps() {
  begin_steps();
  while (!is_done()) {
    begin_next_step();
    end_next_step();
  }
}

void Trainer::begin_steps() {
  steps_begin_ = Clock::now();
  const TrainConfig& t = config_.train;
  const int64_t ahead = config_.data.prefetch;
  batches_.emplace(
      ctx_, *reader_, replica_.share,
      training_samples(replica_, t.steps - steps_done_, t.global_batch, t.micro_batch, samples_seen_),
      ahead > 0 ? (ahead + 1) * config_.accumulation() : 0);
  StepMetrics start;
  if (!resumed_step_) start.val_loss = evaluate();
  start.time = unix_time();
  if (is_main()) {
    progress_->note(peak_->text());
    if (!prompt_note_.empty()) progress_->note("note: " + prompt_note_);
    if (start.val_loss) report(start);
  }
  check_signal(steps_done_);
  core_waits_.emplace(is_on_cpu() ? ctx_.num_threads() : 1);
  // It looks at all groups of the job, of which a teacher's own ranks take no part in it.
  if (config_.run.breakdown && job_.all_ranks == nullptr)
    breakdown_.emplace(ctx_, session_->parallel(), host_name(), !config_.run.cuda_graph);
  steps_begun_ = steps_done_;
}

void Trainer::begin_next_step() {
  const int64_t step = steps_begun_++;
  begin_trace(step + 1);
  now_ = begin_step(step);
}

void Trainer::end_step_before() {
  if (before_) report(end_step(*std::exchange(before_, std::nullopt)));
}

void Trainer::end_next_step() {
  const TrainConfig& t = config_.train;
  const int64_t step = steps_begun_;
  end_step_before();
  const bool is_evaluated = step == t.steps || (t.eval_every > 0 && step % t.eval_every == 0);
  if (runs_ahead_ && !is_evaluated && !ends_trace(step)) {
    before_ = std::exchange(now_, std::nullopt);
    const bool ends = agreed_signal() != 0 || step == t.stop_after;
    const bool saves = checkpoints_ && checkpoints_->is_due(step);
    if (ends || saves) end_step_before();
    if (signal_ != 0) end_by_signal(step);
    save_if_due(step, nullptr);
    return measure_peak_again();
  }
  StepMetrics m = end_step(*std::exchange(now_, std::nullopt));
  if (ends_trace(step)) finish_trace();
  if (is_evaluated) m.val_loss = evaluate();
  report(m);
  if (step < t.steps) check_signal(step);
  save_if_due(step, &m);
  if (step < t.steps) measure_peak_again();
  if (is_evaluated) core_waits_->take();                                             // of the evaluation
  if (job_.is_stepped && breakdown_) breakdown_->clock().enter(Activity::excluded);  // it is the caller's
}

void Trainer::report(const StepMetrics& m) {
  last_ = m;
  if (!is_main()) return;
  directory_->write(m);
  if (m.skipped) {
    progress_->note(notice_);
    record(EventKind::skip, notice_);
  }
  if (m.step > 0) progress_->step(m);
  if (m.val_loss) {
    progress_->evaluation(m);
    record(EventKind::evaluation, fmt::format("validation loss {:.4f}", *m.val_loss));
  }
  for (const std::string& failure : directory_->take_failures()) progress_->note("note: " + failure);
}

}  // namespace trireme::launch
