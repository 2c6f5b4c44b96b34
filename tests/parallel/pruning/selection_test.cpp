// Which units go, and when.
#include "parallel/pruning/selection.h"

#include <algorithm>
#include <cmath>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/pruning/prune_schedule.h"

namespace trireme::test {
namespace {

using testing::ElementsAre;

TEST(PruneSchedule, IsCubicAndEndsWhereItShould) {
  const PruneConfig p{.sparsity = 0.5, .start_step = 10, .end_step = 50, .every = 15};
  std::vector<int64_t> chosen;
  for (int64_t u = 0; u < 100; ++u) {
    if (chooses_after(p, u)) chosen.push_back(u);
  }
  EXPECT_THAT(chosen, ElementsAre(10, 25, 40, 50));
  EXPECT_EQ(schedule_factor(p, 9), 0);
  EXPECT_EQ(schedule_factor(p, 24), 0);
  EXPECT_DOUBLE_EQ(schedule_factor(p, 39), 1 - std::pow(1 - 15.0 / 40, 3));
  EXPECT_DOUBLE_EQ(schedule_factor(p, 49), 1 - std::pow(1 - 30.0 / 40, 3));
  EXPECT_EQ(schedule_factor(p, 50), 1);
  EXPECT_EQ(schedule_factor({.sparsity = 0.5}, 0), 1) << "at once";
  EXPECT_EQ(schedule_factor({.keeps_zeros = true}, 5), 0);
  EXPECT_FALSE(chooses_after({.keeps_zeros = true}, 0));
  EXPECT_EQ(whole_part(0.29, 100), 29) << "which is 28.999999999999996 in double";
  EXPECT_EQ(whole_part(0.3, 9), 2);
  EXPECT_EQ(whole_part(1, 7), 7);
}

TEST(PruneSelection, TakesTheSmallestAndOfEqualOnesTheFirst) {
  std::vector<float> scores = {2, 1, kStays, 1, kPruned, 1, 3};
  apply_cut(scores, smallest(scores, 2));
  EXPECT_THAT(scores, ElementsAre(2, kPruned, kStays, kPruned, kPruned, 1, 3));
  apply_cut(scores, smallest(scores, 0));
  EXPECT_THAT(scores, ElementsAre(2, kPruned, kStays, kPruned, kPruned, 1, 3));
  apply_cut(scores, smallest(scores, 100));
  EXPECT_THAT(scores, ElementsAre(kPruned, kPruned, kStays, kPruned, kPruned, kPruned, kPruned));
}

TEST(PruneSelection, OfRanksIsThatOfAllTogether) {
  std::mt19937 random(5);
  std::vector<float> all(3000);  // so few that smallest() needs no histograms
  for (float& x : all) {         // many ties, zeros and numbers that differ in their low bits alone
    const uint32_t drawn = random();
    x = drawn % 9 == 0 ? kPruned : drawn % 5 == 0 ? 0.0f : 1 + static_cast<float>(drawn % 700) * 0x1p-20f;
  }
  const int64_t pruned = std::ranges::count(all, kPruned), zeros = std::ranges::count(all, 0.0f);
  for (const int64_t count : {int64_t{0}, int64_t{1}, zeros, zeros + 1, int64_t{1500}, int64_t{3000}}) {
    const Cut expected = smallest(all, count);
    const Cut cut = smallest_of_ranks(
        [&](const ScoreVisitor& visit) {
          for (size_t at = 0; at < all.size(); at += 1000) visit(std::span(all).subspan(at, 1000));
        },
        [](std::span<int64_t>) {},
        [&](int64_t num_pruned) {
          EXPECT_EQ(num_pruned, pruned);
          return count;
        });
    EXPECT_EQ(cut.key, expected.key) << count;
    EXPECT_EQ(cut.ties, expected.ties) << count;
  }
}

TEST(PruneSelection, PatternsLeaveTailsAndWhatIsZeroAlready) {
  const PruneConfig p{.zeros = 2, .of = 4};
  // The second group has three zeros, of which two are the pattern's.
  std::vector<float> row = {3, 1, 2, 1, kPruned, 0, kPruned, kPruned, 0, 9};
  EXPECT_EQ(num_units(p, {1, 10}), 4);
  keep_candidates(p, {1, 10}, row, 3);
  EXPECT_THAT(row,
              ElementsAre(kStays, 1, kStays, 1, kPruned, kStays, kPruned, kPrunedBeside, kStays, kStays));
  choose_within(p, {1, 10}, 0.75, row, 3);
  EXPECT_THAT(
      row, ElementsAre(kStays, kPruned, kStays, 1, kPruned, kStays, kPruned, kPrunedBeside, kStays, kStays));
}

}  // namespace
}  // namespace trireme::test
