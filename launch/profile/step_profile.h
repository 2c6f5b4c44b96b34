// StepProfile: one step of a run, op by op, on every rank.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "launch/profile/step_account.h"
#include "parallel/plan/parallel_context.h"

namespace trireme::launch {

/// Ranks begin together. Each observes the ops of its device and where that (on the CPU: its host) waits for
/// other ranks.
class StepProfile final : public WaitObserver {
 public:
  /// All ranks call it; waits for what they have submitted before. `parallel` outlives it.
  StepProfile(Context& ctx, const ParallelContext& parallel);
  ~StepProfile() override;
  StepProfile(const StepProfile&) = delete;
  StepProfile& operator=(const StepProfile&) = delete;

  /// Behind the step, on all ranks. Rank 0 writes `file`, a trace in Chrome's format (chrome://tracing,
  /// ui.perfetto.dev) with a process per rank, and the ranks' accounts under "accounts"; returns what people
  /// read, elsewhere nothing.
  std::string finish(const ops::DeviceRates& rates, const std::string& file);

  void begin_wait(Stream& stream, const WaitedCall& call) override {
    begin_wait(stream, call.group, to_string(call.kind));
  }
  void end_wait(Stream& stream, const WaitedCall&) override { end_wait(stream); }
  /// The same of what no group is waited for.
  void begin_wait(Stream& stream, std::string_view group, std::string_view operation);
  void end_wait(Stream& stream);

 private:
  struct Wait {
    std::string group, operation;
    std::shared_ptr<TimedEvent> begin, end;
  };
  void ignore_waits();
  bool is_counted(const Stream& stream) const { return stream.device() == ctx_.device(); }

  Context& ctx_;
  Communicator& world_;
  bool is_observing_ = true;
  std::vector<Wait> waits_;
  OpTimeline timeline_;
};

/// The accounts of all ranks: a line per rank (of many the busiest and the idlest), and the whole account of
/// the one that was busy longest.
std::string profile_text(const std::vector<StepAccount>& accounts);

}  // namespace trireme::launch
