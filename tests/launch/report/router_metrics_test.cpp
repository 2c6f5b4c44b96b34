#include "launch/report/router_metrics.h"

#include <cmath>

#include <gtest/gtest.h>

namespace trireme::launch {
namespace {

RouterLoad load_of(std::vector<double> chosen, double dropped = 0) {
  RouterLoad load;
  load.layer = 3;
  load.sums.chosen = std::move(chosen);
  load.sums.num_dropped = dropped;
  return load;
}

TEST(RouterMetrics, EvenUnevenAndDead) {
  const RouterMetrics even = router_metrics(load_of({5, 5, 5, 5}));
  EXPECT_EQ(even.layer, 3);
  EXPECT_DOUBLE_EQ(even.imbalance, 1);
  EXPECT_NEAR(even.entropy, 1, 1e-12);
  const RouterMetrics uneven = router_metrics(load_of({6, 2, 0, 0}, 2));
  EXPECT_DOUBLE_EQ(uneven.imbalance, 3);
  EXPECT_EQ(uneven.load, (std::vector<double>{0.75, 0.25, 0, 0}));
  EXPECT_NEAR(uneven.entropy, -(0.75 * std::log(0.75) + 0.25 * std::log(0.25)) / std::log(4.0), 1e-12);
  EXPECT_DOUBLE_EQ(uneven.dropped, 0.25);
  EXPECT_EQ(uneven.num_dead, 2);
}

TEST(RouterMetrics, TheFieldShowsTheWorstRouterAndOnlyWhatHappened) {
  EXPECT_EQ(load_field({}), "");
  std::vector<RouterMetrics> routers = {router_metrics(load_of({3, 5}))};
  EXPECT_EQ(load_field(routers), "load 1.25x");
  routers.push_back(router_metrics(load_of({8, 0}, 1)));
  EXPECT_EQ(load_field(routers), "load 2.00x drop 12.5% dead 1");
}

TEST(RouterMetrics, TimeIsLostToTheSlowestRank) {
  RouterLoad load = load_of({1, 1});
  load.mean_seconds = 0.002;
  load.slowest_seconds = 0.0035;
  const RouterMetrics m = router_metrics(load);
  EXPECT_DOUBLE_EQ(m.expert_ms, 2);
  EXPECT_DOUBLE_EQ(m.lost_ms, 1.5);
}

TEST(RouterMetrics, AStepWithoutTokensHasNoLoad) {
  const RouterMetrics none = router_metrics(load_of({0, 0}));
  EXPECT_TRUE(none.load.empty());
  EXPECT_EQ(none.imbalance, 1);
}

}  // namespace
}  // namespace trireme::launch
