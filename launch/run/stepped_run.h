// A run, a step at a time, for programs that look at it, or do something else, between steps.
#pragma once

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "launch/run/rank_trainer.h"

namespace trireme::launch {

/// What train() does: the same directory, files and checkpoints, and bit for bit the same steps, but that on
/// a GPU they do not overlap.
///
///   SteppedRun run(config, write_config(config), job, stdout);
///   while (!run.is_done()) {
///     const StepNumbers numbers = run.forward_backward();  // run.session() has gradients
///     const StepMetrics metrics = run.update();
///   }
///   run.finish();
///
/// All ranks make the same calls; signals are the caller's. Errors are those of train(), and what they say of
/// the weights is so. After one that left a call of this class, where that does not say another thing, the
/// run has ended: no other call is made but the destructor's.
class SteppedRun {
 public:
  /// Begins, or goes on as config.run.resume says, and evaluates.
  SteppedRun(const RunConfig& config, std::string_view config_ini, const Job& job, std::FILE* out);

  bool is_done() const { return trainer_->is_done(); }
  /// By finish(), after which the model can still be read, or by an error.
  bool has_ended() const { return has_failed_ || is_finished_; }
  bool has_failed() const { return has_failed_; }
  /// Between forward_backward() and update().
  bool is_in_flight() const { return trainer_->in_flight() != nullptr; }

  /// The passes of the next step, and its loss and norm. Until update() gradients are there
  /// (TrainingStep::for_each_parameter).
  StepNumbers forward_backward();
  /// Changes the weights, or skips as train.nonfinite says; evaluates, writes metrics, saves what is due.
  StepMetrics update();
  /// Saves the state, beside what is due, and waits for it: the checkpoint's path. UserError (usage) where
  /// the run keeps none, or a step is in flight. SaveFailed where it could not be saved: earlier checkpoints
  /// are kept, and the run has not ended, unless config.checkpoint.failure is stop.
  std::string save_checkpoint();
  /// After the last step: the last checkpoint, model.safetensors, the summary.
  void finish();

  Trainer& trainer() { return *trainer_; }
  const Trainer& trainer() const { return *trainer_; }

 private:
  template <class Part>
  void attempt(Part&& part);

  RunConfig config_;
  Job job_;
  std::optional<Trainer> trainer_;
  bool has_failed_ = false, is_finished_ = false;
};

}  // namespace trireme::launch
