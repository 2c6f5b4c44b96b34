// OpTimeline: when the ops of a context ran, and for how long.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/ops/op_observer.h"

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

  /// When it began: other times of the same device may be told from there.
  const TimedEvent& start() const { return *start_; }

  /// Waits for the device. Once.
  OpTimes stop();

 private:
  struct Submitted {
    TimedOp op;
    std::shared_ptr<TimedEvent> begin, end;
  };
  Context& ctx_;
  std::shared_ptr<TimedEvent> start_;
  std::vector<Submitted> ops_;
  int depth_ = 0;  // of ops that call ops
};

}  // namespace trireme
