#include "launch/profile/step_account.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace trireme::launch {
namespace {

using testing::HasSubstr;

constexpr ops::DeviceRates kRates{2e12, 1e11};  // 2 GFLOP and 100 MB a millisecond

OpTimes small_step() {
  OpTimes times;
  times.ms = 20;
  times.ops = {{"gemm", "4x4", 4e9, 1e6, 0, 3},             // at least 2
               {"layer_norm", "4", 0, 5e7, 3, 2},           // 0.5
               {"gemm", "4x4", 4e9, 1e6, 6, 3},             // 2
               {"gemm", "8x8", 2e9, 4e8, 9, 6},             // 4, for its memory
               {"attention_backward", "2", 1e9, 1, 15, 1},  // 0.5
               {"adamw", "9", 0, 1e8, 17, 0.5}};            // 1, which caches make less
  return times;
}

const AccountLine& line(const std::vector<AccountLine>& lines, std::string_view name) {
  return *std::ranges::find(lines, name, &AccountLine::name);
}

TEST(StepAccount, EveryMillisecondIsSomewhere) {
  const StepAccount account = account_of(small_step(), kRates);
  ASSERT_EQ(account.kinds.size(), 4);
  EXPECT_DOUBLE_EQ(line(account.kinds, "products").ms, 12);
  EXPECT_EQ(line(account.kinds, "products").calls, 3);
  EXPECT_DOUBLE_EQ(line(account.kinds, "attention").ms, 1);
  EXPECT_DOUBLE_EQ(line(account.kinds, "optimizer").ms, 0.5);
  EXPECT_DOUBLE_EQ(line(account.kinds, "other ops").ms, 2);
  EXPECT_DOUBLE_EQ(account.between_ms, 4.5);
  EXPECT_DOUBLE_EQ(account.busy_ms(), 15.5);
}

TEST(StepAccount, TheLeastIsTheLongerOfArithmeticAndMemoryOfEachOp) {
  const StepAccount account = account_of(small_step(), kRates);
  EXPECT_DOUBLE_EQ(line(account.kinds, "products").least_ms, 2 + 2 + 4);
  EXPECT_DOUBLE_EQ(line(account.kinds, "attention").least_ms, 0.5);
  EXPECT_DOUBLE_EQ(line(account.kinds, "other ops").least_ms, 0.5);
  EXPECT_DOUBLE_EQ(line(account.kinds, "optimizer").least_ms, 1);
}

TEST(StepAccount, OpsOfOneShapeAreOneLineTheLongestFirst) {
  const StepAccount account = account_of(small_step(), kRates);
  ASSERT_EQ(account.ops.size(), 5);
  EXPECT_EQ(account.ops[0].ms, 6);
  EXPECT_EQ(account.ops[0].calls + account.ops[1].calls, 3);
  EXPECT_EQ(account.ops[1].ms, 6);
  EXPECT_EQ(account.ops[2].name, "layer_norm");
  EXPECT_EQ(account.ops[4].name, "adamw");
}

TEST(StepAccount, TheTable) {
  const std::string text = account_text(account_of(small_step(), kRates), 1);
  EXPECT_THAT(text,
              HasSubstr("products                        3     12.000   60.0 %      0.83     33.50      8.000"
                        "      4.000\n"));
  EXPECT_THAT(text,
              HasSubstr("optimizer                       1      0.500    2.5 %         -    200.00      1.000"
                        "      0.000\n"));
  EXPECT_THAT(text, HasSubstr("between ops                            4.500   22.5 %"));
  EXPECT_THAT(
      text,
      HasSubstr("the step                              20.000  100.0 %                         10.000\n"));
  EXPECT_THAT(text, HasSubstr("the 1 slowest of 5 ops:\n"));
  EXPECT_THAT(text, HasSubstr("at 2.00 TFLOP/s and 100.0 GB/s"));
}

TEST(StepAccount, AStepWithoutOpsIsAllBetween) {
  OpTimes times;
  times.ms = 2;
  const StepAccount account = account_of(times, kRates);
  EXPECT_EQ(account.between_ms, 2);
  EXPECT_THAT(account_text(account, 5), HasSubstr("the step "));
}

TEST(StepAccount, JsonHoldsAllOfIt) {
  StepAccount account = account_of(small_step(), kRates);
  account.wait_ms = {{"tensor", 1.5}};
  const StepAccount back = account_from_json(nlohmann::ordered_json::parse(to_json(account).dump()));
  EXPECT_EQ(account_text(back, 5), account_text(account, 5));
  EXPECT_THAT(account_text(back, 0), HasSubstr("  waiting for tensor                   1.500    7.5 %\n"));
}

}  // namespace
}  // namespace trireme::launch
