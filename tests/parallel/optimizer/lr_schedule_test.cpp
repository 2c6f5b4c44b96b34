#include "parallel/optimizer/lr_schedule.h"

#include <gtest/gtest.h>

namespace trireme {
namespace {

LrSchedule schedule(LrScheduleKind kind) { return {kind, 1.0, 0.1, 9, 109, 0.2}; }

TEST(LrSchedule, WarmsUpLinearlyWithoutAZeroStep) {
  for (const auto kind :
       {LrScheduleKind::constant, LrScheduleKind::linear, LrScheduleKind::cosine, LrScheduleKind::wsd}) {
    EXPECT_DOUBLE_EQ(schedule(kind).at(0), 0.1);
    EXPECT_DOUBLE_EQ(schedule(kind).at(4), 0.5);
    EXPECT_DOUBLE_EQ(schedule(kind).at(9), 1.0);
  }
}

TEST(LrSchedule, HasTheRightMiddleAndEnd) {
  EXPECT_DOUBLE_EQ(schedule(LrScheduleKind::constant).at(500), 1.0);
  EXPECT_DOUBLE_EQ(schedule(LrScheduleKind::linear).at(59), 0.55);
  EXPECT_DOUBLE_EQ(schedule(LrScheduleKind::cosine).at(59), 0.55);
  EXPECT_NEAR(schedule(LrScheduleKind::cosine).at(34), 0.1 + 0.9 * 0.853553390593, 1e-9);
  EXPECT_DOUBLE_EQ(schedule(LrScheduleKind::wsd).at(87), 1.0);
  for (const auto kind : {LrScheduleKind::linear, LrScheduleKind::cosine, LrScheduleKind::wsd}) {
    EXPECT_NEAR(schedule(kind).at(109), 0.1, 1e-12);
    EXPECT_NEAR(schedule(kind).at(1000), 0.1, 1e-12);
  }
}

TEST(LrSchedule, NoWarmupAndOneStepAreFine) {
  EXPECT_DOUBLE_EQ((LrSchedule{LrScheduleKind::cosine, 2.0, 0, 0, 1, 0.1}.at(0)), 2.0);
  EXPECT_DOUBLE_EQ((LrSchedule{LrScheduleKind::cosine, 2.0, 0, 5, 1, 0.1}.at(0)), 2.0 / 6);
}

}  // namespace
}  // namespace trireme
