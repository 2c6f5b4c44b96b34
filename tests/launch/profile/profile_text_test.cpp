#include "launch/profile/profile_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::test {
namespace {

using namespace launch;

using testing::HasSubstr;
using testing::Not;

StepAccount account_with(double ms, double busy) {
  OpTimes times;
  times.ms = ms;
  times.ops = {{"gemm", "1x1", 1, 1, 0, busy}};
  return account_of(times, {1, 1});
}

TEST(ProfileText, OneRankNeedsNoTableOfRanks) {
  const std::string text = profile_text({account_with(10, 5)});
  EXPECT_THAT(text, Not(HasSubstr("rank")));
  EXPECT_THAT(text, HasSubstr("products "));
}

TEST(ProfileText, OfManyRanksTheBusiestAndTheIdlest) {
  std::vector<StepAccount> accounts;
  for (int rank = 0; rank < 20; ++rank) accounts.push_back(account_with(100, 10 + (rank * 7) % 20));
  const std::string text = profile_text(accounts);
  EXPECT_THAT(text, HasSubstr("the 8 busiest and the 8 idlest of 20 ranks"));
  EXPECT_THAT(text, HasSubstr("rank 17, which computed the longest:\n")) << "17 * 7 % 20 = 19";
  EXPECT_THAT(text, HasSubstr("\n    17    100.000     29.000"));
  EXPECT_THAT(text, Not(HasSubstr("\n     4    100.000"))) << "4 * 7 % 20 = 8, in the middle";
}

}  // namespace
}  // namespace trireme::test
