#include "runtime/profile/rate_estimate.h"

#include <vector>

#include <gtest/gtest.h>

namespace trireme::ops {
namespace {

RateEstimate fed(const std::vector<RateSample>& samples, const RateRules& rules = {}) {
  RateEstimate estimate(rules);
  for (const RateSample& sample : samples) estimate.add(sample);
  return estimate;
}

std::vector<RateSample> times(int n, RateSample sample) {
  return std::vector<RateSample>(static_cast<size_t>(n), sample);
}

TEST(RateEstimate, OfAQuietMachineIsTheShortestRun) {
  auto samples = times(20, {0.0101, 0.0100});
  samples[7] = {0.0099, 0.0098};
  const RateEstimate e = fed(samples);
  EXPECT_TRUE(e.is_sure());
  EXPECT_EQ(e.seconds(), 0.0099);
  EXPECT_NEAR(e.share(), 0.99, 1e-3);
}

TEST(RateEstimate, TakesAMinimumOfRunsOrOfTime) {
  EXPECT_FALSE(RateEstimate().is_enough());
  EXPECT_FALSE(fed(times(19, {0.01, 0.01})).is_enough());
  EXPECT_TRUE(fed(times(20, {0.01, 0.01})).is_enough());
  EXPECT_FALSE(fed(times(30, {0.004, 0.004})).is_enough());
  EXPECT_TRUE(fed(times(38, {0.004, 0.004})).is_enough());
  EXPECT_FALSE(fed(times(5, {0.05, 0.05})).is_enough());
  EXPECT_TRUE(fed(times(6, {0.0501, 0.05})).is_enough());
  EXPECT_FALSE(fed(times(1, {0.9, 0.9})).is_enough());  // one run shows nothing
}

TEST(RateEstimate, GoesOnWhileItIsNotSureButNotForEver) {
  EXPECT_FALSE(fed(times(49, {0.04, 0.01})).is_enough());
  EXPECT_TRUE(fed(times(51, {0.04, 0.01})).is_enough());
}

TEST(RateEstimate, AShortRunIsNotMeasuredForLong) {
  const auto after = [](int n) {
    RateEstimate e({.most_flops = 100}, 10);
    for (int i = 0; i < n; ++i) e.add({0.04, 0.01});
    return e.is_enough();
  };
  EXPECT_FALSE(after(9));
  EXPECT_TRUE(after(10));
  RateEstimate few({.most_flops = 1}, 10);
  for (int i = 0; i < 7; ++i) few.add({0.04, 0.01});
  EXPECT_FALSE(few.is_enough());
  few.add({0.04, 0.01});
  EXPECT_TRUE(few.is_enough());
  RateEstimate fast({.most_flops = 1}, 10);
  for (int i = 0; i < 40; ++i) fast.add({0.002, 0.002});
  EXPECT_FALSE(fast.is_enough());
  for (int i = 0; i < 11; ++i) fast.add({0.002, 0.002});
  EXPECT_TRUE(fast.is_enough());
}

// The fault that this is for: a time slice of another process in each of the first runs.
TEST(RateEstimate, ATimeSliceOfAnotherProcessIsNoWork) {
  const RateEstimate e = fed(times(3, {0.0122, 0.0002}));
  EXPECT_FALSE(e.is_sure());
  EXPECT_FALSE(e.is_enough());
  EXPECT_EQ(e.seconds(), 0.0002);
  EXPECT_LT(e.share(), 0.02);
}

TEST(RateEstimate, OneRunThatWasUndisturbedIsNotEnough) {
  auto samples = times(20, {0.03, 0.01});
  samples[3] = samples[11] = {0.0105, 0.01};
  EXPECT_FALSE(fed(samples).is_sure());
  EXPECT_EQ(fed(samples).seconds(), 0.01);
  samples[19] = {0.0105, 0.01};
  EXPECT_TRUE(fed(samples).is_sure());
  EXPECT_EQ(fed(samples).seconds(), 0.0105);
}

TEST(RateEstimate, UndisturbedRunsAgreeWithTheLeastProcessorTime) {
  auto samples = times(20, {0.012, 0.012});
  EXPECT_TRUE(fed(samples).is_sure());
  samples.push_back({0.05, 0.010});  // the machine can do better than all the others say
  EXPECT_FALSE(fed(samples).is_sure());
}

TEST(RateEstimate, ClocksThatDifferALittleDoNotMakeItFaster) {
  const RateEstimate e = fed(times(20, {0.010, 0.0102}));
  EXPECT_TRUE(e.is_sure());
  EXPECT_EQ(e.seconds(), 0.010);
  EXPECT_EQ(e.share(), 1);
}

}  // namespace
}  // namespace trireme::ops
