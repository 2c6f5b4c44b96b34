// Traces of a run: the profile of a step, and steps of --run.trace.
#include <utility>

#include <fmt/ranges.h>

#include "launch/process/host_name.h"
#include "launch/profile/profile_text.h"
#include "launch/run/rank_trainer.h"
#include "runtime/comm/record/recorder.h"

namespace trireme::launch {

void Trainer::begin_trace(int64_t step) {
  const StepRange& traced = config_.run.trace;
  const bool is_profiled = step == config_.run.profile_step;
  if (trace_ || !(is_profiled || traced.contains(step))) return;
  end_step_before();  // or its end would be in the trace
  const ScopedActivity excluded(clock(), Activity::excluded);
  TraceOptions options;
  options.steps = {step, is_profiled ? step : std::min(traced.last, config_.train.steps)};
  options.host = host_name();
  trace_.emplace(ctx_, session_->parallel(), std::move(options));
  is_profile_ = is_profiled;
}

void Trainer::finish_trace() {
  if (!trace_) return;
  const ScopedActivity excluded(clock(), Activity::excluded);
  const ScopedPhase phase(ctx_.recorder(), Phase::save);
  const auto file_of = [&](const StepRange& steps) {
    const std::string name =
        is_profile_ ? "profile.json" : fmt::format("trace-{}-{}.json", steps.first, steps.last);
    return (directory_->path() / name).string();
  };
  const TraceResult result = trace_->finish(file_of, is_profile_ ? &rates_ : nullptr);
  trace_.reset();
  core_waits_->take();
  if (!is_main()) return;
  for (const std::string& note : result.notes) progress_->note("note: " + note);
  if (is_profile_) {
    progress_->note(fmt::format("profile of step {}; by op in {}\n{}", result.steps.first, result.file,
                                profile_text(result.accounts)));
  } else {
    progress_->note(fmt::format("trace of steps {} to {}: {} (opens in ui.perfetto.dev)", result.steps.first,
                                result.steps.last, result.file));
  }
}

}  // namespace trireme::launch
