// BreakdownWatch: where the time of a rank's steps goes, compared with the other ranks' window by window.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/profile/breakdown.h"
#include "launch/profile/step_clock.h"
#include "launch/profile/stragglers.h"
#include "parallel/plan/parallel_context.h"

namespace trireme::launch {

/// All ranks of a world make one, and the same calls.
class BreakdownWatch {
 public:
  /// `parallel` and the context's recorder, which says the phases, outlive it. `sees_inside`: as StepClock.
  BreakdownWatch(Context& ctx, const ParallelContext& parallel, const std::string& host, bool sees_inside);

  StepClock& clock() { return clock_; }

  /// Before the last step of a window ends, so that what ranks wait for one another at its end is a part of
  /// it. For ranks on CPUs.
  void meet();
  /// Of the steps that have ended since the last window. Ranks split their waits (split_waits), and exchange
  /// their times (13 numbers each).
  RankedBreakdown end_window(int64_t mem_bytes);
  /// The rank that computed longest in the last window, beside the others of its stage.
  const SlowRank& slowest() const { return slowest_; }
  /// Of ranks that the last window has made stragglers, a line each.
  std::vector<std::string> warnings() const;

  /// Of all windows, as a line; empty where there was none. Equal on all ranks.
  std::string summary() const;
  /// The slowest rank of all windows, as a line; empty where there is one rank, or no window.
  std::string slowest_text() const;

 private:
  RankTimes own_times(const WindowTimes& window, int64_t mem_bytes);
  std::string name_of(int rank) const;

  Communicator& world_;
  ParallelPlan plan_;
  const bool sees_waits_;
  std::vector<std::string> hosts_;  // of each rank
  std::vector<int> stages_;
  Stragglers stragglers_;
  SlowRank slowest_;
  StepBreakdown total_;  // sums, not means
  StepClock clock_;
};

}  // namespace trireme::launch
