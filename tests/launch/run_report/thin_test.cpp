// Thinning loses neither the least nor the largest value.
#include "launch/run_report/thin.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(Thin, ValuesPerPointKeepWithinTheMost) {
  EXPECT_EQ(values_per_point(0, 10), 1u);
  EXPECT_EQ(values_per_point(10, 10), 1u);
  EXPECT_EQ(values_per_point(11, 10), 2u);
  EXPECT_EQ(values_per_point(100'000, 1000), 100u);
}

TEST(Thin, FewValuesStayAsTheyAre) {
  const Band band = thin(std::vector<double>{3, kNan, 1}, 1);
  EXPECT_EQ(band.mean[0], 3);
  EXPECT_TRUE(std::isnan(band.mean[1]));
  EXPECT_EQ(band.mean[2], 1);
  EXPECT_THAT(band.low, IsEmpty());
  EXPECT_THAT(band.count, IsEmpty());
}

TEST(Thin, PointsHaveMeanRangeAndCountOfTheFinite) {
  const double inf = std::numeric_limits<double>::infinity();
  const Band band = thin(std::vector<double>{1, 3, kNan, 5, inf, 7, 9}, 3);
  EXPECT_THAT(band.mean, ElementsAre(2, 6, 9));
  EXPECT_THAT(band.low, ElementsAre(1, 5, 9));
  EXPECT_THAT(band.high, ElementsAre(3, 7, 9));
  EXPECT_THAT(band.count, ElementsAre(2, 2, 1));
  EXPECT_THAT(ends_of_points(std::vector<double>{1, 2, 3, 4, 5, 6, 7}, 3), ElementsAre(3, 6, 7));
}

TEST(Thin, PointsWithoutAFiniteValueAreGaps) {
  const Band band = thin(std::vector<double>{kNan, kNan, 1, 1}, 2);
  EXPECT_TRUE(std::isnan(band.mean[0]));
  EXPECT_EQ(band.count[0], 0);
  EXPECT_EQ(band.mean[1], 1);
}

TEST(Thin, OneSpikeOfManyIsKept) {
  std::vector<double> values(100'000, 1.0);
  values[54'321] = 1000;
  values[77'777] = -5;
  const Band band = thin(values, values_per_point(values.size(), 1000));
  EXPECT_EQ(band.mean.size(), 1000u);
  EXPECT_EQ(*std::ranges::max_element(band.high), 1000);
  EXPECT_EQ(*std::ranges::min_element(band.low), -5);
}

}  // namespace
}  // namespace trireme::launch
