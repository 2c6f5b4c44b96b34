// How a run ends: with all its steps, by a signal, or by an error.
#include <exception>

#include "launch/checkpoint/agreed.h"
#include "launch/checkpoint/finished_run.h"
#include "launch/process/stop_request.h"
#include "launch/report/banner.h"
#include "launch/report/number_text.h"
#include "launch/report/visible_text.h"
#include "launch/run/rank_trainer.h"
#include "launch/run/text_sample.h"
#include "runtime/base/error.h"
#include "runtime/comm/agreed_end.h"
#include "runtime/comm/record/recorder.h"

namespace trireme::launch {

void Trainer::check_signal(int64_t step) {
  if (agreed_signal() != 0) end_by_signal(step);
}

void Trainer::end_by_signal(int64_t step) {
  if (config_.checkpoint.is_on()) end_resumably(step, signal_name(signal_));
  finish_trace();
  throw AgreedEnd(exit_code_of_signal(signal_),
                  fmt::format("ended by {} after step {} of {}. {}", signal_name(signal_), step,
                              config_.train.steps, save_unfinished()));
}

std::string Trainer::save_unfinished() noexcept {
  if (steps_done_ == 0) return "Nothing is saved: no step was completed";
  const std::string name = fmt::format("model-unfinished-step-{}.safetensors", steps_done_);
  try {
    save_model(name);
    return fmt::format("The weights after step {} are in {}", steps_done_,
                       is_main() ? (directory_->path() / name).string() : name);
  } catch (const std::exception& error) {
    return fmt::format("Nothing is saved: {}", error.what());
  }
}

std::string Trainer::end_by(std::string message) noexcept {
  enter_teardown();
  if (is_saved_) {
    if (is_main()) message += fmt::format("\n  The weights are complete in {}", directory_->path().string());
  } else if (world_.size() == 1 && !is_updating_ && directory_) {
    failure_of([&] { end_step_before(); });  // the weights are of that step already
    message += fmt::format("\n  {}", save_unfinished());
  } else if (steps_done_ > 0) {
    message += is_updating_ ? "\n"
                              "  Nothing is saved: an update of the weights was in progress"
                            : "\n  Nothing is saved: ranks that wait for this one cannot send their weights";
  }
  end_log(message, true);
  return message;
}

// Whoever has given the job a log adds the message there himself.
void Trainer::end_log(const std::string& message, bool is_error) noexcept {
  if (!directory_) return;
  failure_of([&] { record(EventKind::stop, message); });
  if (job_.log != nullptr) return;
  directory_->log(visible_message(fmt::format("trireme: {}{}", is_error ? "error: " : "", message)));
}

void Trainer::run() {
  try {
    start();
    train_steps();
    finish_run();
  } catch (const AgreedEnd& end) {
    enter_teardown();
    end_log(end.what(), end.code() != ExitCode::resumable);
    throw;
  }
}

void Trainer::enter_teardown() noexcept {
  if (ctx_.recorder() != nullptr) ctx_.recorder()->enter(Phase::teardown);
}

void Trainer::finish_run() {
  enter_teardown();
  seconds_ = seconds_since(steps_begin_);
  const MemoryStats stats = memory_->stats();  // of training: a whole tensor may be gathered to be saved
  if (config_.checkpoint.is_on()) save_last_checkpoint();
  try {
    save_model("model.safetensors");
  } catch (const AgreedEnd& end) {
    throw AgreedEnd(end.code(), fmt::format("{}. Nothing is saved", end.what()));
  }
  is_saved_ = true;
  // A run whose last checkpoint failed is not finished: the next attempt does the steps behind the one
  // before.
  if (config_.checkpoint.is_on() && checkpoints_->failure().empty()) {
    together(world_, [&] {
      if (is_main()) mark_finished(run_path_, config_.train.steps);
    });
  }
  const std::string sample = agreed_signal() == 0 && writes_sample() ? sample_of_text() : "";
  const std::vector<std::string> shares{bubble_text(), breakdown_ ? breakdown_->summary() : "", data_text(),
                                        breakdown_ ? breakdown_->slowest_text() : ""};
  if (is_main()) summarize(seconds_, stats, shares, sample);
  if (agreed_signal() != 0) {
    throw AgreedEnd(
        config_.checkpoint.is_on() ? ExitCode::resumable : exit_code_of_signal(signal_),
        fmt::format("ended by {} after the last step. The weights are complete in {}", signal_name(signal_),
                    is_main() ? (directory_->path() / "model.safetensors").string() : ""));
  }
  if (config_.checkpoint.is_on() && !checkpoints_->failure().empty()) {
    throw AgreedEnd(ExitCode::checkpoint,
                    fmt::format("{}. The run is complete, its weights are in {}", checkpoints_->failure(),
                                is_main() ? (directory_->path() / "model.safetensors").string() : ""));
  }
  if (progress_ && !progress_->failure().empty()) {
    throw_environment("standard output could not be written: {}. The run is complete", progress_->failure());
  }
}

void Trainer::save_model(const std::string& name) {
  const ScopedPhase phase(ctx_.recorder(), Phase::save);
  std::string path;
  if (is_main()) {
    path = (directory_->path() / name).string();
    try {
      if (directory_->restore()) {
        progress_->note(fmt::format(
            "note: {} had disappeared and was created again; metrics and log of the steps so far are lost",
            directory_->path().string()));
      }
    } catch (const Error&) {  // the file will say it
    }
  }
  try {
    session_->save(path);
  } catch (const UserError& error) {  // the folder was there when the run began: no mistake in the arguments
    if (error.code() != ExitCode::usage) throw;
    throw EnvironmentError(error.what());
  }
  if (is_main()) save_tokenizer();  // the directory may be a new one
}

std::string Trainer::sample_of_text() {
  if (config_.train.sample_tokens == 0) return "";
  const ScopedPhase phase(ctx_.recorder(), Phase::sample);
  const TextSampleOptions options{config_.train.sample_prompt, config_.train.sample_tokens, 0.8,
                                  config_.train.seed, [] { return StopRequest::signal() != 0; }};
  return sample_text(ctx_, session_->parallel(), session_->model(),
                     is_main() ? data_.tokenizer.get() : nullptr, config_.train.seq_len, options);
}

// The host's clock, by which this goes, does not see what a device does.
std::string Trainer::bubble_text() {
  if (config_.parallel.pipeline == 1 || !is_on_cpu()) return "";
  const double bubble = sum_over_ranks(session_->step().pipeline_times().bubble()) / world_.size();
  return fmt::format(
      "pipeline bubble measured {:.1f} %: idle share of forward and backward passes, mean over ranks",
      100 * bubble);
}

std::string Trainer::data_text() {
  const double percent = 100 * sum_over_ranks(batches_->seconds_waited()) / world_.size() / seconds_in_steps_;
  if (!(percent >= 0.1)) return "";  // nor where no step was done
  return fmt::format("waiting for data, share of step time, mean over ranks: {:.1f} % (--data.prefetch {})",
                     percent, config_.data.prefetch);
}

void Trainer::summarize(double seconds, const MemoryStats& stats, const std::vector<std::string>& shares,
                        const std::string& sample) {
  Progress& progress = *progress_;
  MemoryEstimate measured;
  for (size_t i = 0; i < kNumMemoryCategories; ++i) measured.bytes[i] = stats.by_category[i].peak;
  const std::string line =
      fmt::format("{} steps, {} tokens in {} | peak memory measured {}; reserved {}", config_.train.steps,
                  grouped(tokens_seen_), short_duration(seconds), memory_line(measured),
                  short_bytes(static_cast<double>(stats.peak_reserved)));
  progress.note(line);
  if (!sample.empty()) record(EventKind::sample, sample);
  record(EventKind::end, line);
  const auto state = measured[MemoryCategory::weights] + measured[MemoryCategory::gradients] +
                     measured[MemoryCategory::optimizer];
  int64_t held = 0;  // parameters of this rank
  for (const ParameterView& view : session_->storage().parameters()) held += view.parameter->shape.numel();
  progress.note(
      fmt::format("that is {:.1f} bytes per parameter of this rank for weights, gradients and "
                  "optimizer, and {} per micro-batch token for activations",
                  static_cast<double>(state) / static_cast<double>(held),
                  short_bytes(static_cast<double>(measured[MemoryCategory::activations]) /
                              static_cast<double>(config_.train.micro_batch * config_.train.seq_len))));
  for (const std::string& share : shares) {
    if (!share.empty()) progress.note(share);
  }
  if (!sample.empty()) progress.note(fmt::format("\n--- sample ---\n{}\n--------------", visible(sample)));
  if (const std::string missing = directory_->missing(); !missing.empty())
    progress.note(fmt::format("note: {}", missing));
  progress.note(fmt::format(
      "files in {}: config.ini metrics.jsonl {}events.jsonl log.txt model.safetensors{}{}{} and TensorBoard "
      "events",
      directory_->path().string(), breakdown_ && world_.size() > 1 ? "ranks.jsonl " : "",
      data_.tokenizer ? " tokenizer.json" : "", config_.run.profile_step > 0 ? " profile.json" : "",
      config_.checkpoint.is_on() && config_.checkpoint.dir.empty() ? " checkpoints" : ""));
}

}  // namespace trireme::launch
