// RankTrace: collects what a rank does over several steps.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/trace/call_lanes.h"
#include "launch/trace/site_rows.h"
#include "launch/trace/trace_data.h"
#include "parallel/plan/parallel_context.h"
#include "runtime/comm/record/call_reader.h"
#include "runtime/profile/op_timeline.h"

namespace trireme::launch {

/// From its construction to stop(), on every rank: the ops of its device, the phases it is in, its calls of
/// all groups with others, where its device (on the CPU: its host) waits for others, and its memory. Ops,
/// phases and waits have the device's times, calls and memory those of the host.
class RankTrace final : public WaitObserver, public SiteObserver {
 public:
  /// Waits for what was submitted before. `parallel` outlives it. About `max_events` are kept; then it is
  /// full.
  RankTrace(Context& ctx, const ParallelContext& parallel, int64_t max_events);
  ~RankTrace() override;
  RankTrace(const RankTrace&) = delete;
  RankTrace& operator=(const RankTrace&) = delete;

  /// A step has ended on the host, with this rate over all ranks. What the device has done becomes data.
  void end_step(double tokens_per_second);
  /// Waits for the device. The last step is whole where it has ended. Once.
  RankTraceData stop();

  /// Waits beside communication: for the next batch.
  void begin_data_wait() { begin_wait(ctx_.stream(), "data", "next_batch"); }
  void end_data_wait() { end_wait(ctx_.stream()); }

  void begin_wait(Stream& stream, const WaitedCall& call) override {
    if (is_of_others(call)) begin_wait(stream, call.group, to_string(call.kind));
  }
  void end_wait(Stream& stream, const WaitedCall& call) override {
    if (is_of_others(call)) end_wait(stream);
  }
  void entered(const CallSite& site) override;

 private:
  struct Wait {
    std::string group, operation;
    std::shared_ptr<TimedEvent> begin, end;
  };
  struct Entry {
    std::shared_ptr<TimedEvent> at;
    CallSite site;
  };
  void begin_wait(Stream& stream, std::string_view group, std::string_view operation);
  void end_wait(Stream& stream);
  bool is_of_others(const WaitedCall& call) const {
    return std::ranges::find(communicators_, call.communicator) != communicators_.end();
  }
  void detach();
  void count();
  void sample_memory();
  void take_done();
  void take_ops(std::vector<TimedOp> ops);
  void take_waits();
  void take_sites();
  void take_calls(bool all);
  void add(int64_t begin_ns, int64_t ns, TraceRow row, TraceName name);
  int32_t intern(TraceName name);

  Context& ctx_;
  Communicator& world_;
  std::vector<int> communicators_;  // of several ranks, as WaitedCall has them
  const int64_t max_events_;
  RankTraceData data_;
  std::map<std::string, int32_t> numbers_;  // of names
  SiteRows site_rows_;
  CallLanes lanes_;
  OpTimeline timeline_;
  EventClock entry_clock_, wait_clock_;
  std::optional<CallReader> calls_;  // none without a recorder
  std::deque<Wait> waits_;
  std::deque<Entry> entries_;
  int64_t last_end_[kFirstGroupRow] = {};
  int wait_depth_ = 0;  // of calls that make calls
  bool is_observing_ = true, is_step_over_ = false;
};

}  // namespace trireme::launch
