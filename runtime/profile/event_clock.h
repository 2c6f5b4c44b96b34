// EventClock: the events of a device on the steady clock of the host.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "runtime/device/stream.h"

namespace trireme {

/// A device tells how much time lies between two of its events, as a float: of long times single precision
/// loses microseconds. So times are counted in short spans that are added up in double.
class EventClock {
 public:
  /// Begins now, when what was submitted before is done.
  explicit EventClock(Stream& stream) : base_(begin(stream)), start_ns_(now_ns()) {}

  /// When it began: std::chrono::steady_clock, nanoseconds.
  int64_t start_ns() const { return start_ns_; }
  /// From the beginning to an event of the same device that is done.
  double ms_of(const TimedEvent& event) const { return base_ms_ + event.milliseconds_since(*base_); }
  int64_t ns_of(const TimedEvent& event) const {
    return start_ns_ + static_cast<int64_t>(ms_of(event) * 1e6 + 0.5);
  }
  /// Counts from `event`, which is done, from now on. It is better for events that are near to it, before and
  /// after.
  void advance(std::shared_ptr<TimedEvent> event) {
    base_ms_ = ms_of(*event);
    base_ = std::move(event);
  }

 private:
  static std::shared_ptr<TimedEvent> begin(Stream& stream) {
    stream.synchronize();
    auto event = stream.record_time();
    event->synchronize();
    return event;
  }
  static int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

  std::shared_ptr<TimedEvent> base_;
  double base_ms_ = 0;
  int64_t start_ns_;
};

}  // namespace trireme
