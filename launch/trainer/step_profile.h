// StepProfile: one step of a run, op by op, on every rank.
#pragma once

#include <string>
#include <vector>

#include "launch/trainer/step_account.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

/// Ranks begin together and each observes its own device.
class StepProfile {
 public:
  /// All ranks call it; waits for what they have submitted before. `parallel` outlives it.
  StepProfile(Context& ctx, const ParallelContext& parallel);

  /// Behind the step, on all ranks. Rank 0 writes `file`, a trace in Chrome's format (chrome://tracing,
  /// ui.perfetto.dev) with a process a rank, and the ranks' accounts under "accounts"; returns what people
  /// read, elsewhere nothing.
  std::string finish(const DeviceRates& rates, const std::string& file);

 private:
  Context& ctx_;
  Communicator& world_;
  std::vector<const Communicator*> groups_;
  std::vector<double> waited_before_;  // seconds, by group
  OpTimeline timeline_;
};

/// The accounts of all ranks: a line a rank (of many the busiest and the idlest), and the whole account of
/// the one that was busy longest.
std::string profile_text(const std::vector<StepAccount>& accounts);

}  // namespace trireme
