#include "parallel/optimizer/balanced_assignment.h"

#include <algorithm>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "runtime/base/philox.h"

namespace trireme {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(BalancedAssignment, TheLargestGoFirstAndTiesToTheLowest) {
  const std::vector<double> costs{1, 4, 4, 2, 3};
  EXPECT_THAT(balanced_assignment(costs, 1), ElementsAre(ElementsAre(1, 2, 4, 3, 0)));
  EXPECT_THAT(balanced_assignment(costs, 2), ElementsAre(ElementsAre(1, 4), ElementsAre(2, 3, 0)));
  EXPECT_THAT(balanced_assignment(std::vector<double>{5}, 3),
              ElementsAre(ElementsAre(0), IsEmpty(), IsEmpty()));
  EXPECT_THAT(balanced_assignment({}, 2), ElementsAre(IsEmpty(), IsEmpty()));
  EXPECT_THROW(balanced_assignment(costs, 0), InternalError);
}

TEST(BalancedAssignment, EveryPieceOnceAndNobodyFarBeyondTheMean) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const auto draw = [&](uint64_t i) { return philox4x32(seed, i, 5)[0]; };
    std::vector<double> costs(draw(0) % 60);
    for (size_t i = 0; i < costs.size(); ++i) costs[i] = 1 + draw(i + 2) % 1000;
    const int workers = 1 + static_cast<int>(draw(1) % 9);
    const auto assigned = balanced_assignment(costs, workers);
    std::vector<int> all;
    double most = 0;
    for (const auto& some : assigned) {
      double load = 0;
      for (const int i : some) load += costs[static_cast<size_t>(i)];
      most = std::max(most, load);
      all.insert(all.end(), some.begin(), some.end());
    }
    std::ranges::sort(all);
    std::vector<int> expected(costs.size());
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(all, expected);
    if (costs.empty()) continue;
    const double mean = std::accumulate(costs.begin(), costs.end(), 0.0) / workers,
                 largest = *std::ranges::max_element(costs);
    EXPECT_LE(most, mean + largest) << seed;
  }
}

}  // namespace
}  // namespace trireme
