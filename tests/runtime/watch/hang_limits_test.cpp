#include "runtime/watch/hang_limits.h"

#include <gtest/gtest.h>

namespace trireme::watch {
namespace {

TEST(HangLimits, AreReadForAllAndByPhase) {
  EXPECT_EQ(parse_hang_limits("600"), HangLimits::all(600));
  EXPECT_EQ(parse_hang_limits("2.5"), HangLimits::all(2.5));
  EXPECT_FALSE(parse_hang_limits("0")->is_on());
  const auto limits = parse_hang_limits("setup=100,step=30,backward=40,save=0");
  ASSERT_TRUE(limits);
  EXPECT_EQ(limits->of(Phase::setup, false), 100);
  EXPECT_EQ(limits->of(Phase::data, false), 30);
  EXPECT_EQ(limits->of(Phase::backward, false), 40);
  EXPECT_EQ(limits->of(Phase::save, false), 0);
  EXPECT_EQ(limits->of(Phase::sample, false), HangLimits().of(Phase::sample, false));
  const auto all_but_one = parse_hang_limits("7,save=8");
  ASSERT_TRUE(all_but_one);
  EXPECT_EQ(all_but_one->of(Phase::setup, false), 7);
  EXPECT_EQ(all_but_one->of(Phase::save, false), 8);
}

TEST(HangLimits, TheFirstStepMayTakeAsLongAsSetup) {
  const HangLimits limits = parse_hang_limits("setup=100,step=30,save=10").value();
  EXPECT_EQ(limits.of(Phase::forward, true), 100);
  EXPECT_EQ(limits.of(Phase::save, true), 10);
  EXPECT_EQ(parse_hang_limits("setup=100,step=0")->of(Phase::forward, true), 0);
}

TEST(HangLimits, OtherTextIsRefused) {
  for (const char* text : {"", "x", "-1", "1e7", "nan", "inf", "step", "step=", "step=1,", "stop=3",
                           "step=1,2", "1,2", "step=1 "})
    EXPECT_FALSE(parse_hang_limits(text)) << text;
}

TEST(HangLimits, TextIsReadAsWhatItWasMadeFrom) {
  for (const char* text :
       {"600", "0", "setup=1,step=2,evaluation=3,save=4,sample=5,teardown=6", "data=1,forward=2"}) {
    const HangLimits limits = parse_hang_limits(text).value();
    EXPECT_EQ(parse_hang_limits(to_string(limits)), limits) << text;
  }
  EXPECT_EQ(to_string(HangLimits::all(600)), "600");
  EXPECT_EQ(to_string(HangLimits()), "600,setup=1800,evaluation=1800,save=1800");
  EXPECT_EQ(parse_hang_limits(to_string(HangLimits())), HangLimits());
}

}  // namespace
}  // namespace trireme::watch
