// Processor time of the threads that compute together.
#pragma once

#include <vector>

#include <time.h>

namespace trireme {

/// Of the calling thread and its OpenMP team. Threads that have ended since, or are new, do not count; the
/// calling thread always does.
class TeamClock {
 public:
  explicit TeamClock(int num_threads);

  void start();
  /// Seconds of processor time since start() of the thread that has had most: what the team's work has taken
  /// at the least, without the time in which others had their cores.
  double longest() const;

 private:
  std::vector<clockid_t> clocks_;
  std::vector<double> begin_;
};

}  // namespace trireme
