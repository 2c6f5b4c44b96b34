// How soon room will be for more texts.
#pragma once

#include <cstdint>
#include <deque>

namespace trireme::launch {

/// By how fast texts have ended of late. Times are the caller's, in seconds of one clock.
class FinishRate {
 public:
  void ended(double now);
  /// Whole seconds until `texts` have ended, if they go on as the last ones did: 1 to 600.
  double seconds_for(int64_t texts, double now) const;

 private:
  std::deque<double> ends_;  // the last ones
};

}  // namespace trireme::launch
