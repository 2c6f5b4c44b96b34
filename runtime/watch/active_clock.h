// Time in which a process could run.
#pragma once

#include <algorithm>

namespace trireme::watch {

/// Seconds that stand still while the process is suspended: a laptop that sleeps (CLOCK_MONOTONIC does not
/// count that), SIGSTOP, a debugger. Known by a thread that looks many times a second: what passes between
/// two looks counts as one second at most.
class ActiveClock {
 public:
  static constexpr double kMostBetweenLooks = 1;

  /// `now`: seconds of a monotonic clock. Returns whether the process was suspended since the last look.
  bool look(double now) {
    const double passed = last_ < 0 ? 0 : std::max(now - last_, 0.0);
    last_ = now;
    seconds_ += std::min(passed, kMostBetweenLooks);
    return passed > 2 * kMostBetweenLooks;
  }
  double seconds() const { return seconds_; }

 private:
  double last_ = -1, seconds_ = 0;
};

}  // namespace trireme::watch
