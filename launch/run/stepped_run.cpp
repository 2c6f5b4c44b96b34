#include "launch/run/stepped_run.h"

#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/save/commit.h"
#include "runtime/base/error.h"
#include "runtime/comm/agreed_end.h"

namespace trireme::launch {

namespace {

Job stepped(Job job) {
  job.is_stepped = true;
  return job;
}

}  // namespace

template <class Part>
void SteppedRun::attempt(Part&& part) {
  TRIREME_CHECK(!has_ended(), "a call of a run that has ended");
  try {
    part();
  } catch (const AgreedEnd& end) {
    has_failed_ = true;
    if (trainer_) trainer_->end_log(end.what(), end.code() != ExitCode::resumable);
    throw;
  } catch (const std::exception&) {
    has_failed_ = true;
    rethrow_ended(config_, job_,
                  [&](const std::string& message) { return trainer_ ? trainer_->end_by(message) : message; });
  }
}

SteppedRun::SteppedRun(const RunConfig& config, std::string_view config_ini, const Job& job, std::FILE* out)
    : config_(config), job_(stepped(job)) {
  if (config.distill.ranks > 0) {
    throw_usage(
        "distill.ranks {}: a run that is taken step by step has its teacher on the student's ranks; use 0, "
        "or "
        "trireme train",
        config.distill.ranks);
  }
  attempt([&] {
    trainer_.emplace(config_, config_ini, job_, out);
    trainer_->start();
    trainer_->begin_steps();
  });
}

StepNumbers SteppedRun::forward_backward() {
  TRIREME_CHECK(!is_done() && !is_in_flight(), "no step can begin now");
  attempt([&] { trainer_->begin_next_step(); });
  return trainer_->in_flight()->numbers;
}

StepMetrics SteppedRun::update() {
  TRIREME_CHECK(is_in_flight(), "no step has begun");
  attempt([&] { trainer_->end_next_step(); });
  return trainer_->last_metrics();
}

std::string SteppedRun::save_checkpoint() {
  if (!config_.checkpoint.is_on()) throw_usage("--checkpoint.keep is 0: this run keeps no checkpoints");
  if (is_in_flight()) throw_usage("a step is in flight: checkpoints are saved between steps");
  attempt([&] { trainer_->save_checkpoint(true); });
  const RunCheckpoints& checkpoints = *trainer_->checkpoints();
  if (!checkpoints.failure().empty()) throw SaveFailed(checkpoints.failure());
  return checkpoints.directory() + "/" + checkpoint_name(checkpoints.last_step());
}

void SteppedRun::finish() {
  TRIREME_CHECK(is_done() && !is_in_flight(), "not all steps are done");
  attempt([&] { trainer_->finish_run(); });
  is_finished_ = true;
}

}  // namespace trireme::launch
