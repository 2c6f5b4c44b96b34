// Gradients that travel in 16 bits: rounded twice, whatever the number of ranks.
#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/layout_run.h"

namespace trireme::test {
namespace {

LayoutRun run_with(DType sent) {
  LayoutRun run;
  run.model = tiny_model(ModelFamily::gpt2);
  run.steps = 5;
  run.plan.gradient_dtype = sent;
  return run;
}

TEST(GradientDType, TheSumIsThatOfRoundedSharesWhateverTheNumberOfRanks) {
  for (const int ranks : {2, 4, 8}) {
    const LayoutResult exact = run_on_threads(ranks, run_with(DType::f32));
    for (const DType sent : {DType::bf16, DType::f16}) {
      SCOPED_TRACE(fmt::format("{} ranks, {}", ranks, to_string(sent)));
      const LayoutResult result = run_on_threads(ranks, run_with(sent));
      // Shares may cancel in the sum, so the bound is relative to the tensor's largest element.
      const double unit = sent == DType::bf16 ? 0x1p-9 : 0x1p-12;
      std::string worst;
      EXPECT_LT(largest_difference(result.gradients, exact.gradients, worst), 4 * unit) << worst;
      EXPECT_GT(largest_difference(result.gradients, exact.gradients, worst), 0);
      for (size_t i = 0; i < exact.losses.size(); ++i) {
        EXPECT_NEAR(result.losses[i], exact.losses[i], 1e-3 * exact.losses[i]);
      }
    }
  }
}

TEST(GradientDType, OneRankSendsNothingAndRoundsNothing) {
  EXPECT_EQ(run_on_one_rank(run_with(DType::bf16)).weights, run_on_one_rank(run_with(DType::f32)).weights);
}

TEST(GradientDType, ZeroStagesBucketsAndOverlapChangeNoBit) {
  for (const DType sent : {DType::bf16, DType::f16}) {
    LayoutRun run = run_with(sent);
    const LayoutResult plain = run_on_threads(4, run);
    for (const int stage : {0, 1, 2, 3}) {
      for (const bool overlap : {false, true}) {
        run.plan.zero_stage = stage;
        run.plan.overlap = overlap;
        run.plan.bucket_mib = in_mib(overlap ? 1 : 20000);
        const LayoutResult result = run_on_threads(4, run);
        EXPECT_EQ(result.losses, plain.losses) << "stage " << stage;
        EXPECT_EQ(result.norms, plain.norms) << "stage " << stage;
        EXPECT_EQ(result.weights, plain.weights) << "stage " << stage;
      }
    }
  }
}

}  // namespace
}  // namespace trireme::test
