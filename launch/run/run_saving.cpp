// Checkpoints of a run: what they are of, when they are saved, and ends that can be resumed.
#include "launch/checkpoint/agreed.h"
#include "launch/checkpoint/restarts.h"
#include "launch/preflight/preflight.h"
#include "launch/process/stop_request.h"
#include "launch/report/number_text.h"
#include "launch/run/rank_trainer.h"
#include "launch/run/run_paths.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/comm/agreed_end.h"
#include "runtime/comm/record/recorder.h"

namespace trireme::launch {

namespace {

TextMap with_prefix(const TextMap& options, std::string_view prefix) {
  TextMap out;
  for (const auto& [key, value] : options) {
    if (key.starts_with(prefix)) out.emplace(key, value);
  }
  return out;
}

SeriesState series_of(const ZScore& score) {
  const ZScore::State state = score.state();
  return {state.count, state.mean, state.variance};
}

}  // namespace

TrainingState Trainer::training_state() {
  TrainingState state;
  state.step = steps_done_;
  state.updates = session_->step().num_updates();
  state.tokens = tokens_seen_;
  const int64_t samples = reader_->order().samples_per_epoch();
  state.data = {samples_seen_ / samples, samples_seen_ % samples};
  state.seed = config_.train.seed;
  state.loss_scaler = loss_scaler_.state();
  RouterStates routers = router_states(ctx_, session_->parallel(), session_->checkpointed());
  state.router_biases = std::move(routers.biases);
  state.router_loads = std::move(routers.loads);
  state.z_scores = {{"loss", series_of(loss_z_)}, {"grad_norm", series_of(grad_norm_z_)}};
  state.config = run_facts();
  state.layout = with_prefix(state.config, "parallel.");
  state.schedule = with_prefix(state.config, "optimizer.");
  return state;
}

void Trainer::save_checkpoint(bool waits) {
  const ScopedPhase phase(ctx_.recorder(), Phase::save);
  if (const auto bad = session_->step().find_nonfinite_weight()) {
    throw AgreedEnd(ExitCode::numerics,
                    fmt::format("no checkpoint is saved: a value is not finite, {}. The run ends. {}",
                                describe(*bad), save_unfinished()));
  }
  const ScopedActivity stands(clock(), Activity::checkpoint);
  checkpoints_->save(training_state(), session_->state_slices(), ctx_.stream(), waits);
  handle_failure();
}

void Trainer::save_if_due(int64_t step, const StepMetrics* evaluated) {
  if (!config_.checkpoint.is_on()) return;
  handle_failure();
  const bool is_best =
      evaluated != nullptr && evaluated->val_loss && checkpoints_->is_new_best(step, *evaluated->val_loss);
  if (step == config_.train.stop_after)
    end_resumably(step, fmt::format("--train.stop-after {}", config_.train.stop_after));
  if (step == config_.train.steps) return;  // the last one is saved at the end
  if (is_best || checkpoints_->is_due(step)) {
    save_checkpoint(false);
  } else if (checkpoints_->is_skipped(step)) {
    checkpoints_->skip(step);
    handle_failure();  // says it
  }
}

void Trainer::tell_of_checkpoints() {
  for (const CheckpointNews& news : checkpoints_->take_news()) {
    tell(news.line);
    if (news.step >= 0) directory_->add({unix_time(), news.step, EventKind::checkpoint, news.line});
  }
}

void Trainer::handle_failure() {
  if (is_main()) tell_of_checkpoints();
  if (checkpoints_->failure().empty() || config_.checkpoint.failure == SaveFailurePolicy::warn) return;
  end_step_before();  // the weights are of that step already
  throw AgreedEnd(ExitCode::checkpoint, fmt::format("{}. The run ends: --checkpoint.failure is stop. {}",
                                                    checkpoints_->failure(), save_unfinished()));
}

bool Trainer::save_last_checkpoint() {
  const ScopedPhase phase(ctx_.recorder(), Phase::save);
  checkpoints_->finish();
  if (checkpoints_->last_step() != steps_done_) save_checkpoint(true);
  if (is_main()) tell_of_checkpoints();
  return checkpoints_->failure().empty();
}

void Trainer::end_resumably(int64_t step, const std::string& why) {
  if (is_main() && counts_restarts(config_) && steps_done_ == resumed_step_.value_or(0))
    excuse_restart(checkpoints_->directory());
  const std::string resume = fmt::format("--resume auto --run.dir {} continues", run_path_);
  if (steps_done_ == 0) {
    throw AgreedEnd(
        ExitCode::resumable,
        fmt::format("ended by {} before the first step: there is nothing to save. {}", why, resume));
  }
  if (!save_last_checkpoint()) {
    throw AgreedEnd(ExitCode::checkpoint,
                    fmt::format("ended by {} after step {} of {}. {}. {}", why, step, config_.train.steps,
                                checkpoints_->failure(), save_unfinished()));
  }
  finish_trace();
  // An end that was asked for does not speak against the checkpoint.
  if (resumes_before_ && steps_done_ == resumed_step_) note_resumes(*resumes_before_);
  throw AgreedEnd(ExitCode::resumable,
                  fmt::format("ended by {} after step {} of {}. The checkpoint is {}; {} from there", why,
                              step, config_.train.steps, checkpoints_->last_place(), resume));
}

}  // namespace trireme::launch
