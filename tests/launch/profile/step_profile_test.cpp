#include "launch/profile/step_profile.h"

#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/io/json/json_file.h"
#include "runtime/ops/elementwise.h"
#include "tests/support/temporary_folder.h"

namespace trireme::test {
namespace {

using namespace launch;

using testing::HasSubstr;
using testing::Not;

TEST(StepProfile, HasTheOpsAndWaitsOfEveryRank) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/profile.json";
  constexpr int kRanks = 3;
  std::vector<std::string> texts(kRanks);
  run_thread_ranks(kRanks, [&](Communicator& world) {
    Context ctx;
    const ParallelContext parallel(world, {.data = kRanks});
    const Tensor t = Tensor::empty(ctx, {64}, DType::f32);
    ops::fill(ctx, t, 1);
    StepProfile profile(ctx, parallel);
    for (int i = 0; i <= world.rank(); ++i) ops::scale(ctx, t, 2);  // as many as its rank, and one
    parallel.world().all_reduce(ctx.stream(), t);
    texts[static_cast<size_t>(world.rank())] = profile.finish({1e12, 1e11}, path);
  });
  EXPECT_THAT(texts[0], HasSubstr("ms by rank:\n"));
  EXPECT_THAT(texts[0], HasSubstr("which computed the longest:\n"));
  EXPECT_THAT(texts[0], HasSubstr("  waiting for world "));
  EXPECT_EQ(texts[1] + texts[2], "");

  const auto json = read_json_file(path);
  ASSERT_EQ(json.at("accounts").size(), kRanks);
  std::array<int, kRanks> num_ops{}, num_waits{};
  for (const auto& event : json.at("traceEvents")) {
    if (event.at("ph") == "M") continue;
    EXPECT_EQ(event.at("ph"), "X");
    EXPECT_GE(event.at("dur"), 0);
    if (event.at("tid") == 1) {
      EXPECT_EQ(event.at("name"), "all_reduce");
      EXPECT_EQ(event.at("cat"), "world");
      ++num_waits[event.at("pid").get<size_t>()];
      continue;
    }
    EXPECT_EQ(event.at("name"), "scale");
    EXPECT_EQ(event.at("cat"), "other ops");
    EXPECT_EQ(event.at("args").at("bytes"), 2 * 4 * 64);
    ++num_ops[event.at("pid").get<size_t>()];
  }
  EXPECT_THAT(num_ops, testing::ElementsAre(1, 2, 3));
  EXPECT_THAT(num_waits, testing::Each(1)) << "none from outside of the step";
  for (const auto& account : json.at("accounts")) EXPECT_EQ(account.at("wait_ms").size(), 1);
}

StepAccount account_with(double ms, double busy) {
  OpTimes times;
  times.ms = ms;
  times.ops = {{"gemm", "1x1", 1, 1, 0, busy}};
  return account_of(times, {1, 1});
}

TEST(StepProfile, OneRankNeedsNoTableOfRanks) {
  const std::string text = profile_text({account_with(10, 5)});
  EXPECT_THAT(text, Not(HasSubstr("rank")));
  EXPECT_THAT(text, HasSubstr("products "));
}

TEST(StepProfile, OfManyRanksTheBusiestAndTheIdlest) {
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
