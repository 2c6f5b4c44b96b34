#include "runtime/base/team_clock.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <pthread.h>

#include "runtime/base/parallel_for.h"

namespace trireme {

namespace {

constexpr double kNoThread = -1;

double seconds_of(clockid_t clock) {
  timespec time{};
  if (::clock_gettime(clock, &time) != 0) return kNoThread;
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

TeamClock::TeamClock(int num_threads) : clocks_(static_cast<size_t>(num_threads), CLOCK_THREAD_CPUTIME_ID) {
  parallel_for(num_threads, num_threads, 1, [&](int64_t begin, int64_t) {
    ::pthread_getcpuclockid(::pthread_self(), &clocks_[static_cast<size_t>(begin)]);
  });
  start();
}

void TeamClock::start() {
  begin_.clear();
  for (const clockid_t clock : clocks_) begin_.push_back(seconds_of(clock));
}

double TeamClock::longest() const {
  double longest = 0;
  for (size_t i = 0; i < clocks_.size(); ++i) {
    const double now = seconds_of(clocks_[i]);
    if (now != kNoThread && begin_[i] != kNoThread) longest = std::max(longest, now - begin_[i]);
  }
  return longest;
}

}  // namespace trireme
