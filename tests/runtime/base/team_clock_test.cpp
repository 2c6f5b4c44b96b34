#include "runtime/base/team_clock.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "runtime/base/parallel_for.h"

namespace trireme {
namespace {

double own_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void compute(double seconds) {
  const double end = own_seconds() + seconds;
  while (own_seconds() < end) {
  }
}

TEST(TeamClock, SleepIsNoProcessorTime) {
  TeamClock clock(1);
  const double before = own_seconds();
  clock.start();
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  compute(0.01);
  const double longest = clock.longest();
  EXPECT_GE(longest, 0.01);
  EXPECT_LE(longest, own_seconds() - before);
}

TEST(TeamClock, TheThreadThatComputesMostCounts) {
  TeamClock clock(2);
  clock.start();
  std::atomic<int> seen = 0;
  parallel_for(2, 2, 1, [&](int64_t part, int64_t) {
    ++seen;
    if (part == 1) compute(0.04);  // not the caller's
  });
  EXPECT_EQ(seen, 2);
  EXPECT_GE(clock.longest(), 0.04);
}

TEST(TeamClock, ThreadsThatHaveEndedDoNotCount) {
  TeamClock clock(4);
  parallel_for(2, 2, 1, [](int64_t, int64_t) {});  // libgomp lets the others go
  clock.start();
  compute(0.005);
  EXPECT_GE(clock.longest(), 0.005);
  EXPECT_LT(clock.longest(), 60);
}

}  // namespace
}  // namespace trireme
