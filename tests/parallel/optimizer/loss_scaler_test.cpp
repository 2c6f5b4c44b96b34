#include "parallel/optimizer/loss_scaler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme {
namespace {

using testing::HasSubstr;

LossScaleConfig dynamic_config() {
  return {.dynamic = true, .start = 64, .growth_interval = 3, .floor = 4, .most_skips = 5};
}

TEST(LossScaler, GrowsAfterCleanStepsAndBacksOff) {
  LossScaler scaler(dynamic_config());
  std::vector<double> scales;
  for (const bool finite : {true, true, true, true, true, false, true, true, true, false, false}) {
    EXPECT_EQ(scaler.count(finite), "");
    scales.push_back(scaler.scale());
  }
  EXPECT_THAT(scales, testing::ElementsAre(64, 64, 128, 128, 128, 64, 64, 64, 128, 64, 32));
  EXPECT_EQ(scaler.state().skips, 3);
  EXPECT_EQ(scaler.state().skips_in_a_row, 2);
}

TEST(LossScaler, FactorsAreTheOnesAskedFor) {
  LossScaleConfig config = dynamic_config();
  config.growth_interval = 1;
  config.growth = 8;
  config.backoff = 0.0625;
  LossScaler scaler(config);
  scaler.count(true);
  EXPECT_EQ(scaler.scale(), 512);
  scaler.count(false);
  EXPECT_EQ(scaler.scale(), 32);
  scaler.count(false);
  EXPECT_EQ(scaler.scale(), 4) << "not below the floor";
}

TEST(LossScaler, StopsAtAnOverflowAtTheFloor) {
  LossScaler scaler(dynamic_config());
  for (int i = 0; i < 4; ++i) EXPECT_EQ(scaler.count(false), "") << i;
  EXPECT_EQ(scaler.scale(), 4);
  EXPECT_EQ(scaler.count(true), "");
  EXPECT_THAT(scaler.count(false), HasSubstr("gradients still overflow at the minimum loss scale 4"));
}

TEST(LossScaler, StopsAfterTooManySkipsInARow) {
  LossScaleConfig config = dynamic_config();
  config.start = 0x1p30;
  LossScaler scaler(config);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(scaler.count(false), "");
  EXPECT_EQ(scaler.count(true), "");
  for (int i = 0; i < 4; ++i) EXPECT_EQ(scaler.count(false), "");
  EXPECT_THAT(scaler.count(false), HasSubstr("5 steps in a row"));
}

TEST(LossScaler, AStaticScaleStays) {
  LossScaler scaler({.start = 1024, .growth_interval = 1, .floor = 1024, .most_skips = 3});
  for (const bool finite : {true, true, false, false, true}) {
    EXPECT_EQ(scaler.count(finite), "");
    EXPECT_EQ(scaler.scale(), 1024);
  }
  scaler.count(false);
  scaler.count(false);
  EXPECT_NE(scaler.count(false), "");
}

TEST(LossScaler, DoesNotGrowWithoutEnd) {
  LossScaleConfig config = dynamic_config();
  config.growth_interval = 1;
  LossScaler scaler(config);
  for (int i = 0; i < 2000; ++i) scaler.count(true);
  EXPECT_EQ(scaler.scale(), LossScaler::kLargest);
}

TEST(LossScaler, GoesOnFromASavedState) {
  LossScaler scaler(dynamic_config()), other(dynamic_config());
  for (const bool finite : {true, false, true, true}) scaler.count(finite);
  other.restore(scaler.state());
  for (const bool finite : {true, true, false, true}) {
    scaler.count(finite);
    other.count(finite);
    EXPECT_EQ(other.state(), scaler.state());
  }
}

}  // namespace
}  // namespace trireme
