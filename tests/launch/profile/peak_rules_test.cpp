#include "launch/profile/peak_rules.h"

#include <gmock/gmock.h>

namespace trireme::launch {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(PeakRules, TheRanksOfAHostAddUp) {
  const RankRate ranks[] = {{.flops = 3e11, .share = 0.99, .threads = 2},
                            {.flops = 2e11, .share = 0.95, .threads = 2}};
  const Peak peak = host_peak(ranks, 4);
  EXPECT_EQ(peak.flops, 5e11);
  EXPECT_EQ(peak.source, PeakSource::measured);
  EXPECT_EQ(peak.share, 0.95);
  EXPECT_FALSE(peak.is_capped);
}

TEST(PeakRules, ASumIsNoMoreThanTheCoresDo) {
  const std::vector<RankRate> eight(8, {.flops = 1e11, .is_sure = false, .share = 0.25, .threads = 1});
  const Peak peak = host_peak(eight, 2);
  EXPECT_EQ(peak.flops, 2e11);
  EXPECT_TRUE(peak.is_capped);
  EXPECT_EQ(peak.source, PeakSource::unsure);
  const RankRate four_threads{.flops = 4e11, .is_sure = false, .threads = 4};
  EXPECT_EQ(host_peak({&four_threads, 1}, 1.5).flops, 1.5e11);  // a quota
  EXPECT_EQ(host_peak({&four_threads, 1}, 0).flops, 4e11);      // on a device nothing is counted in cores
}

TEST(PeakRules, OneRankThatIsNotSureMakesTheHostUnsure) {
  const RankRate ranks[] = {{.flops = 1e11}, {.flops = 1e11, .is_sure = false}, {.flops = 1e11}};
  EXPECT_EQ(host_peak(ranks, 3).source, PeakSource::unsure);
  const Peak hosts[] = {{.flops = 1, .source = PeakSource::stored, .share = 0.5}, {.flops = 2}};
  EXPECT_EQ(sum_of(hosts).flops, 3);
  EXPECT_EQ(sum_of(hosts).source, PeakSource::stored);
  EXPECT_EQ(sum_of(hosts).share, 0.5);
}

TEST(PeakRules, WhatIsStoredHelpsABusyMachine) {
  const Peak unsure{.flops = 3e11, .source = PeakSource::unsure, .share = 0.3};
  EXPECT_EQ(better_peak(unsure, std::nullopt).source, PeakSource::unsure);
  EXPECT_EQ(better_peak(unsure, 2.8e11).flops, 2.8e11);
  EXPECT_EQ(better_peak(unsure, 2.8e11).source, PeakSource::stored);
  EXPECT_EQ(better_peak(unsure, 2.8e11).share, 0.3);
  const Peak slow{.flops = 2e11, .share = 0.97};
  EXPECT_EQ(better_peak(slow, 2.8e11).flops, 2.8e11);
  EXPECT_EQ(better_peak(slow, 2.09e11).flops, 2e11);  // the same
  EXPECT_EQ(better_peak(slow, 1e11).source, PeakSource::measured);
  const Peak sure_but_busy{.flops = 2e11, .share = 0.6};
  EXPECT_EQ(better_peak(sure_but_busy, 2.8e11).flops, 2.8e11);
  EXPECT_EQ(better_peak(sure_but_busy, 1.9e11).source, PeakSource::measured);
  EXPECT_EQ(better_peak(sure_but_busy, 1.9e11).flops, 2e11);
}

TEST(RisingPeak, IsNeverBelowAStep) {
  RisingPeak peak({.flops = 1e11});
  EXPECT_EQ(peak.share_of(5e10), 0.5);
  EXPECT_FALSE(peak.is_due());
  EXPECT_EQ(peak.share_of(3.4e12), 1);
  EXPECT_TRUE(peak.is_due());
  EXPECT_EQ(peak.peak().flops, 3.4e12);
  EXPECT_FALSE(peak.peak().is_sure());
  EXPECT_EQ(peak.share_of(1.7e12), 0.5);
  EXPECT_EQ(peak.reached(), 3.4e12);
}

TEST(RisingPeak, MeasuredAgainItIsSureWhereThatIsMore) {
  RisingPeak peak({.flops = 1e11});
  peak.share_of(3e11);
  peak.replace({.flops = 5e11}, peak.reached());
  EXPECT_EQ(peak.peak().flops, 5e11);
  EXPECT_TRUE(peak.peak().is_sure());
  EXPECT_EQ(peak.reached(), 0);
  EXPECT_FALSE(peak.is_due());
}

TEST(RisingPeak, MeasuredAgainAndStillBelowItIsMarked) {
  RisingPeak peak({.flops = 1e11});
  peak.share_of(3e11);
  peak.replace({.flops = 2e11}, 3e11);
  EXPECT_EQ(peak.peak().flops, 3e11);
  EXPECT_EQ(peak.peak().source, PeakSource::raised);
  peak.replace({.flops = 2.9e11}, 3e11);  // within what measuring twice differs by
  EXPECT_EQ(peak.peak().flops, 3e11);
  EXPECT_TRUE(peak.peak().is_sure());
  peak.replace({.flops = 2.9e11, .source = PeakSource::unsure}, 3e11);
  EXPECT_FALSE(peak.peak().is_sure());
}

TEST(RisingPeak, IsMeasuredAgainAFewTimesOnly) {
  RisingPeak peak({.flops = 1});
  int times = 0;
  for (int step = 2; step < 100; ++step) {
    EXPECT_EQ(peak.share_of(step), 1);
    if (!peak.is_due()) continue;
    ++times;
    peak.replace({.flops = 1}, peak.reached());
  }
  EXPECT_EQ(times, 3);
  EXPECT_EQ(peak.peak().flops, 99);
}

TEST(PeakText, SaysWhereThePeakComesFromAndWhatItIsWorth) {
  const std::string of = "bf16 GEMM rate of 2 rank(s)";
  EXPECT_EQ(peak_text({.flops = 3.123e11}, of),
            "MFU is against 0.312 TFLOP/s: the bf16 GEMM rate of 2 rank(s), just measured");
  EXPECT_THAT(
      peak_text({.flops = 3e11, .source = PeakSource::stored, .share = 0.433}, of),
      AllOf(HasSubstr("stored by an earlier run"), HasSubstr("43 % of the time"), Not(HasSubstr("?"))));
  EXPECT_THAT(peak_text({.flops = 3e11, .source = PeakSource::stored, .share = 0.99}, of),
              AllOf(HasSubstr("matrix products are slower now"), Not(HasSubstr("busy"))));
  EXPECT_THAT(peak_text({.flops = 3e11, .source = PeakSource::unsure, .share = 0.1}, of),
              AllOf(HasSubstr("uncertain (MFU is marked ?)"), HasSubstr("10 % of the time")));
  EXPECT_THAT(peak_text({.flops = 3e11, .source = PeakSource::unsure, .share = 0.95}, of),
              AllOf(HasSubstr("differed too much"), Not(HasSubstr("busy"))));
  EXPECT_THAT(peak_text({.flops = 3e11, .source = PeakSource::raised}, of),
              AllOf(HasSubstr("the rate a step reached"), HasSubstr("uncertain (MFU is marked ?)")));
  EXPECT_THAT(peak_text({.flops = 3e11, .is_capped = true}, of), HasSubstr("more threads than cores"));
  EXPECT_EQ(text_of(PeakSource::stored), "stored");
}

}  // namespace
}  // namespace trireme::launch
