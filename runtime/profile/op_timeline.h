// OpTimeline: when the ops of a context ran, and for how long.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "runtime/ops/op_observer.h"
#include "runtime/profile/event_clock.h"

namespace trireme {

/// Times are of the device: an event before each op and one after it, on the compute stream, so that on CUDA
/// each op seems some microseconds longer than its kernels are.
struct TimedOp {
  std::string name;
  std::string shapes;  ///< of its operands: "4096x768 2304x768 2304 4096x2304"
  double flops = 0, bytes = 0;
  double begin_ms = 0;  ///< since the timeline began
  double ms = 0;
};

struct OpTimes {
  double ms = 0;  ///< from the beginning to the end, ops and all between them
  std::vector<TimedOp> ops;
};

/// Observes from its construction to stop() or its destruction. One a context at a time.
class OpTimeline final : public OpObserver {
 public:
  /// Waits for what was submitted before.
  explicit OpTimeline(Context& ctx);
  ~OpTimeline() override;
  OpTimeline(const OpTimeline&) = delete;
  OpTimeline& operator=(const OpTimeline&) = delete;

  void begin(Context& ctx, const OpCall& call) override;
  void end(Context& ctx) override;

  /// Times of the same device, from when it began.
  const EventClock& clock() const { return clock_; }

  /// The ops that have ended since the last call, in their order.
  std::vector<TimedOp> take();
  /// Ops from now on are not observed.
  void end_observing();
  int64_t num_pending() const { return static_cast<int64_t>(ops_.size()); }

  /// Waits for the device; the time of the whole, and the ops that were not taken. Once.
  OpTimes stop();

 private:
  struct Submitted {
    TimedOp op;
    std::shared_ptr<TimedEvent> begin, end;
  };
  Context& ctx_;
  EventClock clock_;
  std::deque<Submitted> ops_;
  int depth_ = 0;  // of ops that call ops
};

}  // namespace trireme
