#include "parallel/plan/placement.h"

#include <algorithm>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace trireme {
namespace {

using testing::ElementsAre;

double largest_piece(const std::vector<double>& costs, const std::vector<int>& begins) {
  double largest = 0;
  for (size_t s = 0; s + 1 < begins.size(); ++s)
    largest =
        std::max(largest, std::accumulate(costs.begin() + begins[s], costs.begin() + begins[s + 1], 0.0));
  return largest;
}

// Every way to cut, by brute force.
double least_largest(const std::vector<double>& costs, int stages, std::vector<int> begins = {0}) {
  const int n = static_cast<int>(costs.size()), left = stages - static_cast<int>(begins.size());
  if (left == 0) {
    begins.push_back(n);
    return largest_piece(costs, begins);
  }
  double best = 1e300;
  for (int at = begins.back() + 1; at <= n - left; ++at) {
    auto more = begins;
    more.push_back(at);
    best = std::min(best, least_largest(costs, stages, more));
  }
  return best;
}

TEST(Placement, OneStageHoldsAll) {
  EXPECT_THAT(place_layers(std::vector<double>{3, 1, 2}, 1), ElementsAre(0, 3));
}

TEST(Placement, AsManyStagesAsLayers) {
  EXPECT_THAT(place_layers(std::vector<double>{3, 0, 2}, 3), ElementsAre(0, 1, 2, 3));
}

TEST(Placement, AHeavyHeadStandsAlone) {
  EXPECT_THAT(place_layers(std::vector<double>{0.1, 1, 1, 1, 1, 4}, 2), ElementsAre(0, 5, 6));
}

TEST(Placement, WhatIsLeftOverGoesToTheLastStages) {
  EXPECT_THAT(place_layers(std::vector<double>{1, 1, 1, 1, 1}, 2), ElementsAre(0, 2, 5));
}

TEST(Placement, OtherStagesAreEvenBesideTheSlowest) {
  EXPECT_THAT(place_layers(std::vector<double>{9, 1, 1, 1, 1}, 3), ElementsAre(0, 1, 3, 5));
}

TEST(Placement, TheSlowestStageIsAsFastAsCanBe) {
  for (int trial = 0; trial < 60; ++trial) {
    std::vector<double> costs;
    for (int i = 0; i < 3 + trial % 7; ++i) costs.push_back((trial * 37 + i * i * 13 + i * 7) % 11);
    for (int stages = 1; stages <= static_cast<int>(costs.size()); ++stages) {
      const auto begins = place_layers(costs, stages);
      ASSERT_EQ(begins.size(), static_cast<size_t>(stages) + 1);
      ASSERT_EQ(begins.front(), 0);
      ASSERT_EQ(begins.back(), static_cast<int>(costs.size()));
      for (size_t s = 0; s + 1 < begins.size(); ++s) ASSERT_LT(begins[s], begins[s + 1]);
      ASSERT_DOUBLE_EQ(largest_piece(costs, begins), least_largest(costs, stages));
    }
  }
}

TEST(Placement, MoreStagesThanLayersIsADefect) {
  EXPECT_THROW(place_layers(std::vector<double>{1, 1}, 3), InternalError);
}

}  // namespace
}  // namespace trireme
