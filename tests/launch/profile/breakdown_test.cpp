// The arithmetic of a breakdown, of ranks that are made up.
#include "launch/profile/breakdown.h"

#include <numeric>

#include <gmock/gmock.h>

#include "launch/profile/wait_series.h"

namespace trireme::launch {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::Pair;

constexpr double kTiny = 1e-9;

double sum_of(const StepBreakdown& b) {
  double sum = 0;
  for (const auto& [name, ms] : parts_of(b)) sum += ms;
  return sum;
}

/// As each rank measures itself in an even run: 10 ms of passes, 2 of the optimizer, 1 of data, 0.5 on the
/// wire, 0.25 of nothing in particular.
RankTimes even() {
  RankTimes r;
  r.compute = 10;
  r.optimizer = 2;
  r.data = 1;
  r.exposed[0] = 0.5;
  r.step = 13.75;
  return r;
}

StepBreakdown of(const std::vector<RankTimes>& ranks, const std::vector<int>& stages,
                 const ParallelPlan& plan) {
  const RankedBreakdown out = break_down(ranks, stages, 10, plan);
  EXPECT_NEAR(sum_of(out.all), out.all.step_ms, kTiny) << "all parts are the step";
  EXPECT_EQ(out.all.steps, 10);
  EXPECT_EQ(out.ranks.compute_ms.size(), ranks.size());
  const double imbalance =
      std::accumulate(out.ranks.imbalance_ms.begin(), out.ranks.imbalance_ms.end(), 0.0) /
      static_cast<double>(ranks.size());
  EXPECT_NEAR(imbalance, out.all.imbalance_ms, kTiny);
  return out.all;
}

class BreakdownOfRanks : public testing::TestWithParam<int> {};

TEST_P(BreakdownOfRanks, EvenRanksLoseNothingToOneAnother) {
  const auto n = static_cast<size_t>(GetParam());
  const StepBreakdown b = of(std::vector<RankTimes>(n, even()), std::vector<int>(n, 0), {.data = GetParam()});
  EXPECT_NEAR(b.compute_ms, 10, kTiny);
  EXPECT_NEAR(b.optimizer_ms, 2, kTiny);
  EXPECT_NEAR(b.data_ms, 1, kTiny);
  EXPECT_NEAR(b.imbalance_ms, 0, kTiny);
  EXPECT_NEAR(b.bubble_ms, 0, kTiny);
  if (n == 1) {
    EXPECT_THAT(b.exposed_ms, testing::IsEmpty());
    EXPECT_NEAR(b.rest_ms, 0.75, kTiny);
  } else {
    EXPECT_THAT(b.exposed_ms, ElementsAre(Pair("data", DoubleNear(0.5, kTiny))));
    EXPECT_NEAR(b.rest_ms, 0.25, kTiny);
  }
}

TEST_P(BreakdownOfRanks, ASlowRankIsImbalanceOnItselfAndOnThoseThatWaitForIt) {
  const auto n = static_cast<size_t>(GetParam());
  if (n == 1) return;
  std::vector<RankTimes> ranks(n, even());
  for (size_t r = 0; r < n; ++r) {
    ranks[r].step += 5;
    (r == n - 1 ? ranks[r].compute : ranks[r].late) += 5;
  }
  const StepBreakdown b = of(ranks, std::vector<int>(n, 0), {.data = GetParam()});
  EXPECT_NEAR(b.imbalance_ms, 5, kTiny);
  EXPECT_NEAR(b.compute_ms, 10, kTiny);
  EXPECT_NEAR(b.bubble_ms, 0, kTiny);
}

TEST_P(BreakdownOfRanks, ASlowStageIsBubbleOnItselfAndOnThoseThatWaitForIt) {
  const auto n = static_cast<size_t>(GetParam());
  if (n == 1) return;
  std::vector<RankTimes> ranks(n, even());
  std::vector<int> stages(n);
  std::iota(stages.begin(), stages.end(), 0);
  for (size_t r = 0; r < n; ++r) {
    ranks[r].step += 5;
    (r == 0 ? ranks[r].compute : ranks[r].bubble) += 5;
  }
  const StepBreakdown b = of(ranks, stages, {.pipeline = GetParam()});
  EXPECT_NEAR(b.bubble_ms, 5, kTiny);
  EXPECT_NEAR(b.compute_ms, 10, kTiny);
  EXPECT_NEAR(b.imbalance_ms, 0, kTiny);
}

INSTANTIATE_TEST_SUITE_P(All, BreakdownOfRanks, testing::Values(1, 2, 3, 4, 8));

// Two stages of two replicas; the second of the second stage is slow. Its peer waits for it in the reduction;
// of the first stage one rank waits for a gradient, and the other for that rank.
TEST(Breakdown, WhatAPipelineWaitsForASlowRankOfAnotherStageIsImbalance) {
  std::vector<RankTimes> ranks(4, even());
  for (RankTimes& r : ranks) r.step += 8;
  ranks[0].late += 8;
  ranks[1].bubble += 8;
  ranks[2].late += 8;
  ranks[3].compute += 8;
  const RankedBreakdown out = break_down(ranks, std::vector<int>{0, 0, 1, 1}, 1, {.data = 2, .pipeline = 2});
  EXPECT_NEAR(out.all.imbalance_ms, 8, kTiny);
  EXPECT_NEAR(out.all.bubble_ms, 0, kTiny);
  EXPECT_THAT(out.ranks.imbalance_ms, testing::Each(DoubleNear(8, kTiny)));
  EXPECT_THAT(out.ranks.wait_ms, ElementsAre(8.5, 8.5, 8.5, 0.5));
  EXPECT_THAT(out.ranks.compute_ms, ElementsAre(10, 10, 10, 18));
}

TEST(Breakdown, ASlowRankThatItsStageNeverWaitsForTakesNoBubble) {
  std::vector<RankTimes> ranks(4, even());
  for (RankTimes& r : ranks) r.step += 8;
  for (RankTimes& r : ranks) r.bubble += 8;  // of the schedule
  ranks[1].compute += 3;                     // within the bubble of its stage
  ranks[1].bubble -= 3;
  const StepBreakdown b = of(ranks, {0, 0, 1, 1}, {.data = 2, .pipeline = 2});
  EXPECT_NEAR(b.imbalance_ms, 0.75, kTiny) << "its own time alone";
  EXPECT_NEAR(b.bubble_ms, 7.25, kTiny);
}

TEST(Breakdown, ALightStageMakesTheOthersNoBubble) {
  std::vector<RankTimes> ranks(4, even());
  ranks[0].compute -= 4;  // fewer layers than the others
  ranks[0].bubble += 4;
  const StepBreakdown b = of(ranks, {0, 1, 2, 3}, {.pipeline = 4});
  EXPECT_NEAR(b.bubble_ms, 1, kTiny) << "it waits";
  EXPECT_NEAR(b.compute_ms, 9, kTiny);
}

TEST(Breakdown, GroupsBelongToTheAxisTheyGoAlong) {
  using enum Axis;
  const ParallelPlan all{.data = 2, .tensor = 2, .pipeline = 2, .context = 2};
  EXPECT_EQ(axis_of("tensor", all), tensor);
  EXPECT_EQ(axis_of("context", all), context);
  EXPECT_EQ(axis_of("pipeline", all), pipeline);
  EXPECT_EQ(axis_of("shared-weights", all), pipeline);
  EXPECT_EQ(axis_of("experts", all), expert);
  EXPECT_EQ(axis_of("expert-tensor", all), tensor);
  EXPECT_EQ(axis_of("data+context", all), data);
  EXPECT_EQ(axis_of("world", all), pipeline);
  EXPECT_EQ(axis_of("data+context", {.context = 2}), context) << "no replicas: the ranks of a sequence sum";
  EXPECT_EQ(axis_of("replicas", {.data = 2, .tensor = 2}), data);
  EXPECT_EQ(axis_of("world", {.tensor = 4}), tensor);
}

TEST(WaitSeries, HoldsFewCallsOneByOneAndManyInSums) {
  WaitSeries few;
  for (int i = 0; i < 3; ++i) few.add_wait(few.add_call(), i);
  few.add_wait(-1, 0.5);  // of a call of the window before
  EXPECT_THAT(few.sums(), ElementsAre(0.5, 1, 2));

  WaitSeries many;
  constexpr auto kCalls = static_cast<int64_t>(3 * WaitSeries::kMost + 5);
  for (int64_t i = 0; i < kCalls; ++i) many.add_wait(many.add_call(), static_cast<double>(i));
  EXPECT_EQ(many.num_calls(), kCalls);
  EXPECT_EQ(many.sums().size(), (kCalls + 3) / 4);
  EXPECT_EQ(many.sums()[0], 0 + 1 + 2 + 3);
  EXPECT_EQ(many.sums()[1000], 4000 + 4001 + 4002 + 4003);
  EXPECT_EQ(std::accumulate(many.sums().begin(), many.sums().end(), 0.0),
            static_cast<double>(kCalls) * (kCalls - 1) / 2);
}

}  // namespace
}  // namespace trireme::launch
