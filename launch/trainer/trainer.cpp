#include "launch/trainer/trainer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <optional>
#include <thread>
#include <utility>

#include "launch/trainer/attention_choice.h"
#include "launch/trainer/batch_schedule.h"
#include "launch/trainer/choose_device.h"
#include "launch/trainer/load_weights.h"
#include "launch/trainer/memory_advice.h"
#include "launch/trainer/number_text.h"
#include "launch/trainer/progress.h"
#include "launch/trainer/run_directory.h"
#include "launch/trainer/save_weights.h"
#include "launch/trainer/step_metrics.h"
#include "launch/trainer/step_options.h"
#include "launch/trainer/step_profile.h"
#include "launch/trainer/text_sample.h"
#include "launch/trainer/training_data.h"
#include "launch/trainer/wait_times.h"
#include "launch/trainer/z_score.h"
#include "models/config/model_size.h"
#include "parallel/training/training_step.h"
#include "runtime/base/error.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/device/cuda/cuda_device.h"
#include "runtime/ops/device_rates.h"

namespace trireme {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// A step whose numbers may not be there yet.
struct StepUnderWay {
  Clock::time_point begin;
  std::vector<MicroBatch> micro_batches;
  StepNumbers numbers;
  StepMetrics metrics;  ///< as far as they are known
};

/// One rank's part of a run.
class Trainer {
 public:
  Trainer(const RunConfig& config, std::string_view config_ini, const Job& job, std::FILE* out);
  void run();

 private:
  bool is_main() const { return world_.rank() == 0; }
  bool is_on_cpu() const { return ctx_.device().type == DeviceType::cpu; }
  void open_directory(std::string_view config_ini);
  void share_log();  // all ranks take part
  std::optional<double> evaluate();
  /// Whether the next step may begin before the numbers of this one are there: a skipped step changes neither
  /// its loss scale nor its learning rate, and nothing else waits for the device.
  bool can_run_ahead() const {
    const TrainConfig& t = config_.train;
    return !is_on_cpu() && t.nonfinite == NonFinitePolicy::stop && t.check != NonFiniteCheck::op &&
           !t.loss_scale.dynamic && config_.model.moe.num_experts == 0;
  }
  StepUnderWay begin_step(int64_t step);
  StepMetrics end_step(StepUnderWay under_way);  // in the order of the steps
  std::string finish(StepProfile& profile);      // what to print, on the main rank
  void report(const StepMetrics& m, Progress& progress);
  void skip_step(std::span<MicroBatch> micro_batches, const BatchTotals& totals, const StepMetrics& m);
  double sum_over_ranks(double value);
  // Ranks that write a sample together: all that must, else those that hold the first copy.
  bool writes_sample() const {
    return config_.parallel.runs_together() || parallel_.gradients().rank() < config_.parallel.expert;
  }
  void save_model();  // all ranks take part, the main one writes
  std::string sample_of_text();
  std::string bubble_text();  // measured, as the next; all ranks take part
  std::string wait_text();
  void summarize(Progress& progress, double seconds, const MemoryStats& stats,
                 const std::vector<std::string>& shares, const std::string& sample);

  RunConfig config_;
  Job job_;
  Communicator& world_;
  ParallelContext parallel_;
  std::FILE* out_;
  Context ctx_;
  TrainingData data_;
  std::optional<Transformer> model_;
  std::optional<TrainingStep> step_;
  std::optional<BatchReader> reader_, validation_;
  Replica replica_;
  LrSchedule schedule_;
  LossScaler loss_scaler_;
  const bool runs_ahead_;
  WaitTimes wait_times_;
  double seconds_in_steps_ = 0;
  Clock::time_point last_end_;  // of a step
  ZScore loss_z_, grad_norm_z_;
  std::string notice_;      // of the step that was skipped last
  ops::DeviceRates rates_;  // of this rank; bytes only where a step is profiled
  double peak_flops_ = 0;   // of all ranks
  int64_t tokens_seen_ = 0;
  std::optional<RunDirectory> directory_;  // on the main rank
};

// A rank that is bound to some cores uses those; unbound ranks of a host share its cores.
int threads_of_rank(const RunConfig& config, const Job& job) {
  if (config.run.threads > 0) return config.run.threads;
  const int allowed = cpu::num_available_cores();
  const bool is_bound = allowed < static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, is_bound ? allowed : allowed / job.local_size);
}

Trainer::Trainer(const RunConfig& config, std::string_view config_ini, const Job& job, std::FILE* out)
    : config_(config),
      job_(job),
      world_(*job.world),
      parallel_(world_, config.parallel),
      out_(out),
      ctx_(job.device, threads_of_rank(config, job), choose_op_settings(config.run, job.device)),
      loss_scaler_(config.train.loss_scale),
      runs_ahead_(can_run_ahead()),
      wait_times_(parallel_) {
  data_ = load_training_data(ctx_, world_, config_.data, config_.model.vocab_size);
  config_.model.vocab_size = data_.vocab_size;
  replica_ = {parallel_.data().rank(), parallel_.data().size(), ContextParallel(parallel_).share()};
  const int64_t seq_len = config_.train.seq_len;
  reader_.emplace(
      data_.train,
      SampleOrder::shuffled(config_.train.seed, data_.train->num_tokens(), seq_len, data_.train->name()),
      data_.vocab_size);
  if (data_.validation) {
    validation_.emplace(
        data_.validation,
        SampleOrder::sequential(data_.validation->num_tokens(), seq_len, data_.validation->name()),
        data_.vocab_size);
  }
  const TrainingStepOptions options = step_options(config_);
  model_.emplace(ctx_, parallel_, config_.model, seq_len, config_.train.precision,
                 options.division(parallel_), config_.train.recomputation, config_.train.float8);
  model_->storage().initialize(ctx_, config_.train.seed);
  if (!config_.start.file.empty()) check_tokenizer_of_weights(data_, config_.start.file);
  if (!config_.start.file.empty()) load_weights(ctx_, *model_, config_.start.file, config_.start.upcycle);
  step_.emplace(ctx_, parallel_, model_->part(), options);
  const OptimizerConfig& o = config_.optimizer;
  schedule_ = {o.schedule, o.lr, o.min_lr, o.warmup, config_.train.steps, o.decay_fraction};
  if (is_main()) open_directory(config_ini);
  share_log();
  rates_.flops = ops::measure_gemm_rate(ctx_, config_.train.precision);
  if (config_.run.profile_step > 0) rates_.bytes = ops::measure_memory_rate(ctx_);
  peak_flops_ = sum_over_ranks(rates_.flops);
  ctx_.allocator().trim();  // training does not need the tensors of those measurements
  ctx_.allocator().reset_peaks();
}

void Trainer::open_directory(std::string_view config_ini) {
  directory_.emplace(wanted_directory(config_), config_ini);
  RunPlace place;
  place.hosts = job_.hosts;
  place.device = device_text(ctx_.device());
  if (!is_on_cpu()) place.attention = attention_text(config_.run, why_no_cudnn(config_));
  place.backend = world_.backend();
  place.threads_per_rank = ctx_.num_threads();
  place.tokens = data_.description;
  place.run_directory = directory_->path().string();
  const std::string text = banner(config_, place);
  directory_->log(text);
  fmt::print(out_, "{}", text);
  std::fflush(out_);
}

void Trainer::share_log() {
  const auto path = is_main() ? std::filesystem::absolute(directory_->path() / "log.txt").string() : "";
  std::array<char, 4096> shared{};
  path.copy(shared.data(), shared.size() - 1);
  world_.broadcast(ctx_.host_stream(), Tensor::borrow(shared.data(), {shared.size()}, DType::u8), 0);
  if (job_.log != nullptr) job_.log->set_path(shared.data());
}

double Trainer::sum_over_ranks(double value) {
  world_.all_reduce(ctx_.host_stream(), Tensor::borrow(&value, {1}, DType::f64));
  return value;
}

std::optional<double> Trainer::evaluate() {
  if (!validation_) return std::nullopt;
  const TrainConfig& t = config_.train;
  int64_t samples = validation_->order().samples_per_epoch();
  if (t.eval_batches > 0) samples = std::min(samples, t.eval_batches * t.global_batch);
  auto micro_batches = evaluation_micro_batches(ctx_, *validation_, replica_, samples, t.micro_batch);
  return step_->evaluate(micro_batches).mean_loss();
}

StepUnderWay Trainer::begin_step(int64_t step) {
  const auto begin = Clock::now();
  wait_times_.start();
  const int64_t bytes_before = parallel_.experts().bytes_exchanged();
  const TrainConfig& t = config_.train;
  auto micro_batches = training_micro_batches(ctx_, *reader_, replica_, step, t.global_batch, t.micro_batch);
  const double lr =
      schedule_.at(step - loss_scaler_.state().skips);  // a skipped step is no step of the schedule
  StepNumbers numbers = runs_ahead_ ? step_->step(micro_batches, loss_scaler_.scale(), lr)
                                    : step_->measure(micro_batches, loss_scaler_.scale());
  StepMetrics m;
  m.step = step + 1;
  m.dispatch_bytes = parallel_.experts().bytes_exchanged() - bytes_before;
  for (const RouterLoad& load : step_->router_loads()) m.routers.push_back(router_metrics(load));
  m.lr = lr;
  m.comm_wait_ms = wait_times_.stop() * 1e3;
  return {begin, std::move(micro_batches), std::move(numbers), std::move(m)};
}

StepMetrics Trainer::end_step(StepUnderWay under_way) {
  wait_times_.start();
  StepMetrics m = std::move(under_way.metrics);
  const BatchTotals totals = under_way.numbers.totals();
  m.loss = totals.mean_loss();
  m.aux_loss = totals.mean_of(totals.aux_loss_sum);
  m.router_z_loss = totals.mean_of(totals.z_loss_sum);
  m.grad_norm = under_way.numbers.gradient_norm();
  m.loss_scale = totals.loss_scale;
  m.skipped = !std::isfinite(m.grad_norm);
  if (m.skipped) {
    skip_step(under_way.micro_batches, totals, m);
  } else {
    if (!runs_ahead_) step_->update(m.lr);
    loss_scaler_.count(true);
    m.loss_z = loss_z_.push(m.loss);
    m.grad_norm_z = grad_norm_z_.push(m.grad_norm);
  }
  m.skips = loss_scaler_.state().skips;
  tokens_seen_ += config_.tokens_per_step();
  m.tokens = tokens_seen_;
  // Where steps overlap on the host each is given the time since the one before it ended.
  m.step_ms = seconds_since(std::max(under_way.begin, last_end_)) * 1e3;
  last_end_ = Clock::now();
  seconds_in_steps_ += m.step_ms * 1e-3;
  m.comm_wait_ms += wait_times_.stop() * 1e3;
  m.time = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  m.tok_s = static_cast<double>(config_.tokens_per_step()) / m.step_ms * 1e3;
  const double flops = training_flops_per_token(config_.model, config_.train.seq_len) * m.tok_s;
  m.tflops = flops * 1e-12;
  m.mfu = flops / peak_flops_;
  const MemoryStats memory = ctx_.allocator().stats();
  m.mem_bytes = memory.total.peak;
  m.reserved_bytes = memory.peak_reserved;
  return m;
}

// All ranks come here together: the norm is finite on all or on none.
void Trainer::skip_step(std::span<MicroBatch> micro_batches, const BatchTotals& totals,
                        const StepMetrics& m) {
  // Weights are still what they were; gradients may be those of the step after.
  if (runs_ahead_) step_->accumulate(micro_batches, totals.loss_scale);
  const auto culprit = step_->find_nonfinite(micro_batches, totals);
  step_->skip();
  notice_ = fmt::format("step {}: the loss is {} and the gradient norm {}", m.step, m.loss, m.grad_norm);
  if (culprit) notice_ += "; first non-finite " + describe(*culprit);
  std::string why = loss_scaler_.count(false);
  if (config_.train.nonfinite == NonFinitePolicy::stop) why = "--train.nonfinite is stop";
  if (!why.empty()) {
    throw_user(ExitCode::numerics, "{}. The run ends: {}. The weights are those of the last good step",
               notice_, why);
  }
  if (config_.train.loss_scale.dynamic) {
    notice_ += fmt::format("; skipped, loss scale {} -> {}", m.loss_scale, loss_scaler_.scale());
  } else {
    notice_ += "; skipped";
  }
}

void Trainer::run() {
  const TrainConfig& t = config_.train;
  const auto log = [this](std::string_view line) {
    if (directory_) directory_->log(line);
  };
  Progress progress(out_, is_watched(out_), t.steps, t.log_every, log);
  const auto begin = Clock::now();
  StepMetrics start;
  start.val_loss = evaluate();
  if (is_main()) {
    progress.note(
        fmt::format("MFU is against {:.2f} TFLOP/s: the {} GEMM rate of {} rank(s), measured just now",
                    peak_flops_ * 1e-12, precision_name(t.precision), world_.size()));
  }
  if (is_main() && start.val_loss) progress.evaluation(start);
  std::optional<StepUnderWay> before;
  for (int64_t step = 0; step < t.steps; ++step) {
    const bool is_evaluated = step + 1 == t.steps || (t.eval_every > 0 && (step + 1) % t.eval_every == 0);
    const auto end_before = [&] {
      if (before) report(end_step(*std::exchange(before, std::nullopt)), progress);
    };
    std::optional<StepProfile> profile;
    if (step + 1 == config_.run.profile_step) {
      end_before();  // or its end would be in the profile
      profile.emplace(ctx_, parallel_);
    }
    StepUnderWay now = begin_step(step);
    end_before();
    if (runs_ahead_ && !is_evaluated && !profile) {
      before = std::move(now);
      continue;
    }
    StepMetrics m = end_step(std::move(now));
    const std::string account = profile ? finish(*profile) : "";
    if (is_evaluated) m.val_loss = evaluate();
    report(m, progress);
    if (!account.empty()) progress.note(account);
  }
  const double seconds = seconds_since(begin);
  const MemoryStats stats =
      ctx_.allocator().stats();  // of training: a whole tensor may be gathered to be saved
  save_model();
  const std::string sample = writes_sample() ? sample_of_text() : "";
  const std::vector<std::string> shares{bubble_text(), wait_text()};
  if (is_main()) summarize(progress, seconds, stats, shares, sample);
  world_.barrier(ctx_.stream());
}

std::string Trainer::finish(StepProfile& profile) {
  const std::string file = is_main() ? (directory_->path() / "profile.json").string() : "";
  const std::string text = profile.finish(rates_, file);
  if (text.empty()) return "";
  return fmt::format("where step {} went; op by op in {}\n{}", config_.run.profile_step, file, text);
}

void Trainer::report(const StepMetrics& m, Progress& progress) {
  if (!is_main()) return;
  directory_->write(m);
  if (m.skipped) progress.note(notice_);
  progress.step(m);
  if (m.val_loss) progress.evaluation(m);
}

void Trainer::save_model() {
  const std::string path = is_main() ? (directory_->path() / "model.safetensors").string() : "";
  try {
    save_weights(ctx_, parallel_, *model_, *step_, path);
    if (is_main() && data_.tokenizer) data_.tokenizer->save((directory_->path() / "tokenizer.json").string());
  } catch (const UserError& error) {  // the folder was there when the run began: no mistake in the arguments
    if (error.code() != ExitCode::usage) throw;
    throw EnvironmentError(error.what());
  }
}

std::string Trainer::sample_of_text() {
  if (config_.train.sample_tokens == 0) return "";
  const TextSampleOptions options{config_.train.sample_prompt, config_.train.sample_tokens, 0.8,
                                  config_.train.seed};
  return sample_text(ctx_, parallel_, *model_, is_main() ? data_.tokenizer.get() : nullptr,
                     config_.train.seq_len, options);
}

// The host's clock, by which this and the next go, does not see what a device does.
std::string Trainer::bubble_text() {
  if (config_.parallel.pipeline == 1 || !is_on_cpu()) return "";
  const double bubble = sum_over_ranks(step_->pipeline_times().bubble()) / world_.size();
  return fmt::format(
      "pipeline bubble measured {:.1f} %: the share of the passes in which a rank computed nothing, mean of "
      "all",
      100 * bubble);
}

std::string Trainer::wait_text() {
  if (!is_on_cpu()) return "";
  return wait_times_.text(seconds_in_steps_,
                          [&](double seconds) { return sum_over_ranks(seconds) / world_.size(); });
}

void Trainer::summarize(Progress& progress, double seconds, const MemoryStats& stats,
                        const std::vector<std::string>& shares, const std::string& sample) {
  MemoryEstimate measured;
  for (size_t i = 0; i < kNumMemoryCategories; ++i) measured.bytes[i] = stats.by_category[i].peak;
  progress.note(fmt::format("{} steps, {} tokens in {} | peak memory measured {}; reserved {}",
                            config_.train.steps, grouped(tokens_seen_), short_duration(seconds),
                            memory_line(measured), short_bytes(static_cast<double>(stats.peak_reserved))));
  const auto state = measured[MemoryCategory::weights] + measured[MemoryCategory::gradients] +
                     measured[MemoryCategory::optimizer];
  int64_t held = 0;  // parameters of this rank
  for (const ParameterView& view : model_->storage().parameters()) held += view.parameter->shape.numel();
  progress.note(
      fmt::format("that is {:.1f} bytes a parameter of this rank for weights, gradients and optimizer, and "
                  "{} a token of a "
                  "micro-batch for activations",
                  static_cast<double>(state) / static_cast<double>(held),
                  short_bytes(static_cast<double>(measured[MemoryCategory::activations]) /
                              static_cast<double>(config_.train.micro_batch * config_.train.seq_len))));
  for (const std::string& share : shares) {
    if (!share.empty()) progress.note(share);
  }
  if (!sample.empty()) progress.note(fmt::format("\n--- sample ---\n{}\n--------------", sample));
  progress.note(fmt::format(
      "files in {}: config.ini metrics.jsonl log.txt model.safetensors{}{} and TensorBoard events",
      directory_->path().string(), data_.tokenizer ? " tokenizer.json" : "",
      config_.run.profile_step > 0 ? " profile.json" : ""));
}

}  // namespace

void train(const RunConfig& config, std::string_view config_ini, const Job& job, std::FILE* out) {
  try {
    Trainer(config, config_ini, job, out).run();
  } catch (const OutOfMemory& error) {
    const int64_t capacity =
        job.device.type == DeviceType::cuda ? cuda::device_info(job.device.index).bytes : 0;
    const std::string advice = memory_advice(config, threads_of_rank(config, job), capacity);
    if (advice.empty()) throw;
    throw OutOfMemory(fmt::format("{}\n  {}", error.what(), advice));
  }
}

}  // namespace trireme
