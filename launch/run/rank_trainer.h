// Trainer: the training loop of one rank, behind train().
#pragma once

#include <chrono>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/checkpoint/run_checkpoints.h"
#include "launch/profile/breakdown_watch.h"
#include "launch/profile/core_waits.h"
#include "launch/profile/gemm_peak.h"
#include "launch/profile/memory_peaks.h"
#include "launch/report/files/run_directory.h"
#include "launch/report/progress.h"
#include "launch/report/step_metrics.h"
#include "launch/report/z_score.h"
#include "launch/run/batch_schedule.h"
#include "launch/run/run_teacher.h"
#include "launch/run/trainer.h"
#include "launch/run/training_data.h"
#include "launch/trace/step_trace.h"
#include "models/session/training_session.h"
#include "runtime/io/files/directory_lock.h"
#include "runtime/profile/device_rates.h"

namespace trireme::launch {

/// A rank that is bound to some cores uses those; unbound ranks of a host share its cores.
int threads_of_rank(const RunConfig& config, const Job& job);

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
/// Since 1970.
inline double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// A step whose numbers may not be there yet.
struct StepInFlight {
  std::chrono::steady_clock::time_point begin;
  std::vector<MicroBatch> micro_batches;
  StepNumbers numbers;
  std::optional<PendingStep> pending;  ///< until it is applied or skipped
  StepMetrics metrics;                 ///< as far as they are known
};

/// In a handler of what a run threw: throws the same with what `ended` makes of its message (end_by()), and
/// with advice where memory ran out.
[[noreturn]] void rethrow_ended(const RunConfig& config, const Job& job,
                                const std::function<std::string(const std::string&)>& ended);

/// One rank's part of a run.
class Trainer {
 public:
  using Clock = std::chrono::steady_clock;

  Trainer(const RunConfig& config, std::string_view config_ini, const Job& job, std::FILE* out);
  void run();

  // What run() is made of, for SteppedRun. All ranks make the same calls: start(), begin_steps(), then until
  // is_done() begin_next_step() and end_next_step(), and finish_run().
  void start();
  void begin_steps();
  bool is_done() const { return steps_begun_ >= config_.train.steps; }
  /// The passes of the next step. Unless steps overlap, gradients are there until it ends.
  void begin_next_step();
  /// Its update, and all that follows it: evaluation, metrics, a checkpoint that is due.
  void end_next_step();
  void finish_run();
  void save_checkpoint(bool waits);
  /// The last line of log.txt, unless the job has a log of its own: of an error, or of an end that was asked
  /// for.
  void end_log(const std::string& message, bool is_error) noexcept;

  const RunConfig& config() const { return config_; }
  const TrainingData& data() const { return data_; }
  TrainingSession& session() { return *session_; }
  Context& context() { return ctx_; }
  const std::string& directory() const { return run_path_; }
  int64_t steps_done() const { return steps_done_; }
  /// Of the next step, as far as is known: one that is skipped changes it.
  double learning_rate() const { return schedule_.at(steps_done_ - loss_scaler_.state().skips); }
  double loss_scale() const { return loss_scaler_.scale(); }
  const RunCheckpoints* checkpoints() const { return checkpoints_ ? &*checkpoints_ : nullptr; }
  /// The step that has begun and not ended; null: none.
  const StepInFlight* in_flight() const { return now_ ? &*now_ : nullptr; }
  /// Of the last step that has ended, or of the evaluation before the first.
  const StepMetrics& last_metrics() const { return last_; }

  /// Saves what can be saved after an error that happened on this rank alone, and says what became of it in
  /// `message`, with which the log ends.
  std::string end_by(std::string message) noexcept;

 private:
  bool is_main() const { return world_.rank() == 0; }
  bool is_on_cpu() const { return ctx_.device().type == DeviceType::cpu; }
  void find_teacher();   // before its weights are read: what it is, and what it takes
  void count_restart();  // AgreedEnd (no_progress) where others before came to nothing
  void check_memory();
  void claim_directory();  // and its lock; all ranks take part, as in all of these
  std::string checkpoints_path() const;
  bool starts_fresh();                 // no checkpoint will be loaded
  std::string digest_of_data() const;  // on the first rank
  void identify_data();
  TextMap run_facts() const;  // options, and what the data is: on the first rank
  void open_checkpoints();
  void resume();
  void resume_newest();
  void take_checkpoint(const std::string& path, const Manifest& manifest);
  void check_proof(const std::string& path, const Manifest& manifest, bool is_other_state);
  void continue_from(const std::string& path, const TrainingState& state);
  void note_resumes(int64_t number);  // on the main rank: runs that resumed from the checkpoint of this one
  void check_checkpoint_room();
  void open_directory();
  void set_log(const std::string& path);  // where what ends the run is kept, whichever rank it befalls
  void share_log();                       // all ranks take part
  /// A line of events.jsonl; on ranks without a directory nothing.
  void record(EventKind kind, const std::string& text);
  void record_start();
  void tell(const std::string& line);  // a note, and where it is a warning an event; on the main rank
  std::optional<double> evaluate();
  void train_steps();
  void enter_teardown() noexcept;  // for the recorder
  void end_step_before();
  // The signal that any rank has got, equal on all, which call it together; 0: none.
  int agreed_signal();
  void check_signal(int64_t step);
  [[noreturn]] void end_by_signal(int64_t step);
  TrainingState training_state();
  void save_if_due(int64_t step, const StepMetrics* evaluated);
  void tell_of_checkpoints();   // on the main rank
  void handle_failure();        // of a save, as --checkpoint.failure says
  bool save_last_checkpoint();  // of the steps that are done; false: failure() says why not
  [[noreturn]] void end_resumably(int64_t step, const std::string& why);
  std::string save_unfinished() noexcept;  // as save_model(); a sentence on where the weights are
  /// Whether a step is applied, and the next one begun, before its numbers are there: a skipped step changes
  /// neither loss scale nor learning rate of the next, and nothing else waits for the device.
  bool can_run_ahead() const {
    const TrainConfig& t = config_.train;
    return !is_on_cpu() && t.nonfinite == NonFinitePolicy::stop && t.check != NonFiniteCheck::op &&
           !t.loss_scale.dynamic && config_.model.moe.num_experts == 0;
  }
  void begin_quantization(int64_t step);
  StepInFlight begin_step(int64_t step);
  void apply(StepInFlight& in_flight);
  StepMetrics end_step(StepInFlight in_flight);  // in the order of the steps
  // A step that is profiled, or the first of those that are traced; all ranks take part, as in the next.
  void begin_trace(int64_t step);
  bool ends_trace(int64_t step) const { return trace_ && trace_->steps().last <= step; }
  void finish_trace();  // and says so; nothing where there is none
  void report(const StepMetrics& m);
  void skip_step(StepInFlight& in_flight, const StepMetrics& m);
  StepClock* clock() { return breakdown_ ? &breakdown_->clock() : nullptr; }  // null: nobody looks at it
  /// Of the breakdown: where the time of a log window went that ends here; all ranks take part.
  void account(StepMetrics& m);
  void measure_peak_again();  // where a step of any rank has reached more
  double sum_over_ranks(double value);
  // Ranks that write a sample together: all that must, else those that hold the first copy.
  bool writes_sample() const {
    return config_.parallel.in_lockstep() ||
           session_->parallel().gradients().rank() < config_.parallel.expert;
  }
  void save_tokenizer();
  void save_model(const std::string& name);  // all ranks take part, the main one writes
  std::string sample_of_text();
  std::string bubble_text();  // measured, as the next; all ranks take part
  std::string data_text();
  void summarize(double seconds, const MemoryStats& stats, const std::vector<std::string>& shares,
                 const std::string& sample);

  RunConfig config_;
  std::string config_ini_;
  Job job_;
  Communicator& world_;
  std::FILE* out_;
  Context ctx_;
  TrainingData data_;
  std::optional<FoundTeacher> found_teacher_;
  std::optional<TrainingSession> session_;
  std::optional<BatchReader> reader_, validation_;
  std::optional<RunTeacher> teacher_;
  Replica replica_;
  std::optional<BatchPrefetcher> batches_;  // of the steps to come
  LrSchedule schedule_;
  LossScaler loss_scaler_;
  const bool runs_ahead_;
  bool quantizes_;         // layers compute through quantization, where the model has one
  Recorder own_recorder_;  // of phases, where the world has none
  std::optional<BreakdownWatch> breakdown_;
  double seconds_in_steps_ = 0, seconds_ = 0;  // the second: of all steps and evaluations
  Clock::time_point steps_begin_, last_end_;   // the second: of a step
  ZScore loss_z_, grad_norm_z_;
  std::string notice_;            // of the step that was skipped last
  ops::DeviceRates rates_;        // of this rank; bytes only where a step is profiled
  std::optional<GemmPeak> peak_;  // of all ranks
  std::optional<CoreWaits> core_waits_;
  std::optional<MemoryPeaks> memory_;
  bool is_peak_due_ = false;  // on any rank, equal on all
  int64_t tokens_seen_ = 0;
  int64_t samples_seen_ = 0;  // of the training data's order
  int64_t steps_done_ = 0, steps_begun_ = 0;
  std::optional<StepInFlight> before_, now_;  // the first: of steps that overlap, the one before
  std::optional<StepTrace> trace_;            // of the step in flight, and others
  bool is_profile_ = false;                   // it is the profile of a step
  StepMetrics last_;
  bool is_updating_ = false;  // weights may be of two steps
  bool is_saved_ = false;     // the model of all steps
  int signal_ = 0;            // that the ranks have agreed on
  std::string prompt_note_, log_path_, run_path_;
  TextMap identity_;                                     // of the data, on the first rank
  std::vector<std::string> start_notes_, resume_notes_;  // to be said once there is a screen and a log
  std::optional<int64_t> resumed_step_;
  std::optional<int64_t> resumes_before_;  // from the same checkpoint, where --resume auto has chosen it
  std::optional<DirectoryLock> lock_, checkpoints_lock_;  // on the main rank
  std::optional<RunDirectory> directory_;                 // on the main rank
  std::optional<Progress> progress_;
  std::optional<RunCheckpoints> checkpoints_;  // goes first: it waits for the save in flight
};

}  // namespace trireme::launch
