#include "launch/bench/op_cases.h"

#include <gtest/gtest.h>

#include "tests/support/test_device.h"

namespace trireme::launch {
namespace {

TEST(OpCases, EveryCaseRunsAndKnowsItsWork) {
  Context ctx(test::test_device());
  constexpr int64_t kTokens = 3;
  for (const OpCaseMaker& maker : op_cases()) {
    SCOPED_TRACE(maker.name + ", " + maker.shape);
    if (maker.shape.find("1B") != std::string::npos || maker.name == "adamw")
      continue;  // as others, but large
    const OpTime t = time_op(ctx, maker, DType::bf16, kTokens, 0);
    EXPECT_GT(t.bytes, 0);
    const bool is_arithmetic = maker.name.starts_with("linear") || maker.name.starts_with("attention") ||
                               maker.name.starts_with("grouped");
    EXPECT_EQ(t.flops > 0, is_arithmetic);
  }
}

TEST(OpCases, TimesAreOfOneRun) {
  Context ctx(test::test_device());
  const auto cases = op_cases();
  const OpTime t = time_op(ctx, cases.front(), DType::f32, 7, 0.01);
  EXPECT_EQ(t.name, "linear forward");
  EXPECT_EQ(t.flops, 2.0 * 7 * 768 * 2304);
  EXPECT_GT(t.seconds, 0);
  EXPECT_LT(t.seconds, 10);
}

}  // namespace
}  // namespace trireme::launch
