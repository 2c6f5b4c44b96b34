// Streams: first-in first-out queues of work on a device.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "runtime/device/device.h"

namespace trireme {

class Graph;

/// A point in a stream's work. Done once everything submitted before it was recorded has finished.
class Event {
 public:
  virtual ~Event() = default;
  /// Blocks the calling thread until the event is done.
  virtual void synchronize() = 0;
  /// Whether synchronize() would return at once.
  virtual bool is_done() = 0;
};

/// An event that knows its time.
class TimedEvent : public Event {
 public:
  /// From `earlier`, which was recorded on the same device, to this one; both are done.
  virtual double milliseconds_since(const TimedEvent& earlier) const = 0;
};

/// Work submitted to one stream runs in the order of submission. Two streams are ordered only by wait().
/// Ops on a CPU compute stream have finished when their call returns, so its events are done when recorded.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual Device device() const = 0;
  virtual std::shared_ptr<Event> record() = 0;
  virtual std::shared_ptr<TimedEvent> record_time() = 0;
  /// Work submitted to this stream from now on starts after `event` is done.
  virtual void wait(Event& event) = 0;
  /// Copies between the host and the stream's device, in any direction. Host memory may be reused
  /// once the stream has completed the copy.
  virtual void copy(void* to, const void* from, size_t bytes) = 0;
  /// Blocks the calling thread until all submitted work has finished.
  virtual void synchronize() = 0;
  /// Captures what `submit` submits to this stream, and to others that wait for it, instead of running it
  /// (CUDA graphs, by stream capture). `submit` waits for nothing on the host, copies from and to no memory
  /// unknown to the device, and lets this stream wait for all that it started on others. Devices
  /// only.
  virtual std::unique_ptr<Graph> capture(const std::function<void()>& submit) = 0;
};

}  // namespace trireme
