// Which rank is a straggler.
#include "launch/profile/stragglers.h"

#include <algorithm>

#include <gmock/gmock.h>

namespace trireme::launch {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<int> ranks_of(const std::vector<SlowRank>& slow) {
  std::vector<int> ranks;
  for (const SlowRank& s : slow) ranks.push_back(s.rank);
  return ranks;
}

TEST(Stragglers, TheSlowestIsMeasuredAgainstTheMedian) {
  Stragglers stragglers({0, 0, 0, 0, 0});
  const SlowRank slow = stragglers.add(std::vector<double>{1, 2, 2, 5, 9});
  EXPECT_EQ(slow.rank, 4);
  EXPECT_DOUBLE_EQ(slow.ratio, 4.5);
  EXPECT_EQ(slow.num_windows, 1);
  EXPECT_FALSE(slow.is_straggler());
}

TEST(Stragglers, OfTwoRanksTheSlowerIsComparedWithTheOther) {
  Stragglers stragglers({0, 0});
  const SlowRank slow = stragglers.add(std::vector<double>{3, 2});
  EXPECT_EQ(slow.rank, 0);
  EXPECT_DOUBLE_EQ(slow.ratio, 1.5);
}

TEST(Stragglers, FiveWindowsInSuccessionAreNeeded) {
  Stragglers stragglers({0, 0, 0});
  const std::vector<double> slow{1, 1, 1.4}, even{1, 1, 1.3};
  for (int i = 0; i < 4; ++i) stragglers.add(slow);
  EXPECT_FALSE(stragglers.add(even).is_straggler());  // no more than 1.3: the count begins again
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(stragglers.add(slow).is_straggler());
  EXPECT_THAT(stragglers.new_ones(), IsEmpty());
  EXPECT_TRUE(stragglers.add(slow).is_straggler());
  EXPECT_THAT(ranks_of(stragglers.new_ones()), ElementsAre(2));
  EXPECT_TRUE(stragglers.add(slow).is_straggler());  // still, which is no news
  EXPECT_THAT(stragglers.new_ones(), IsEmpty());
}

TEST(Stragglers, StagesOfAPipelineAreNotComparedWithEachOther) {
  // Ranks 0 to 2 have twice the work of the others by design; of those, rank 4 is slow.
  Stragglers stragglers({0, 0, 0, 1, 1, 1});
  SlowRank slow;
  for (int i = 0; i < 5; ++i) slow = stragglers.add(std::vector<double>{4, 4.1, 4.2, 2, 3, 2.1});
  EXPECT_EQ(slow.rank, 4);
  EXPECT_NEAR(slow.ratio, 3 / 2.1, 1e-9);
  EXPECT_THAT(ranks_of(stragglers.new_ones()), ElementsAre(4));
}

TEST(Stragglers, ARankThatIsAloneInItsStageIsNone) {
  Stragglers stragglers({0, 1});
  SlowRank slow;
  for (int i = 0; i < 6; ++i) slow = stragglers.add(std::vector<double>{1, 50});
  EXPECT_DOUBLE_EQ(slow.ratio, 1);
  EXPECT_FALSE(slow.is_straggler());
}

TEST(Stragglers, NoTimeIsNoRatio) {
  Stragglers stragglers({0, 0});
  EXPECT_DOUBLE_EQ(stragglers.add(std::vector<double>{0, 0}).ratio, 1);
}

TEST(Stragglers, TheRunIsJudgedByAllWindows) {
  Stragglers stragglers({0, 0, 0});
  stragglers.add(std::vector<double>{9, 1, 1});
  for (int i = 0; i < 10; ++i) stragglers.add(std::vector<double>{1, 1, 3});
  EXPECT_EQ(stragglers.overall().rank, 2);
  EXPECT_NEAR(stragglers.overall().ratio, 31.0 / 19, 1e-9);
}

}  // namespace
}  // namespace trireme::launch
