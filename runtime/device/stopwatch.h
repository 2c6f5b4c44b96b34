// Stopwatch: the time that a stream's device spends on some of its work.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "runtime/device/stream.h"

namespace trireme {

class Stopwatch {
 public:
  /// Counts what `submit` submits to the stream, from the moment at which the device comes to it until it is
  /// done. The host does not wait for it.
  void measure(Stream& stream, const std::function<void()>& submit);

  /// Of all that was measured since clear(); waits for it.
  double seconds();
  void clear();

 private:
  struct Span {
    std::shared_ptr<TimedEvent> begin, end;
  };
  void add_first();

  std::deque<Span> open_;  // not added up yet
  double milliseconds_ = 0;
};

}  // namespace trireme
