// Training with the blocks' linear layers in 8 bits.
#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/layout_run.h"

namespace trireme::test {
namespace {

LayoutRun run_in_8_bits(ModelFamily family) {
  LayoutRun run;
  run.model = tiny_model(family);
  run.precision = DType::bf16;
  run.unequal_targets = true;
  run.float8 = true;
  return run;
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

// The smallest cosine of any tensor's gradients but those that are zero save for rounding.
double least_cosine(const LayoutResult& a, const LayoutResult& b) {
  double least = 1;
  for (const auto& [name, gradient] : a.gradients) {
    if (!name.ends_with("key.bias")) least = std::min(least, cosine(gradient, b.gradients.at(name)));
  }
  return least;
}

TEST(Float8, GradientsAndLossesFollowFp32) {
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama}) {
    LayoutRun run = run_in_8_bits(family);
    const LayoutResult in_8_bits = run_on_one_rank(run);
    run.float8 = false;
    const LayoutResult in_bf16 = run_on_one_rank(run);
    run.precision = DType::f32;
    const LayoutResult exact = run_on_one_rank(run);
    EXPECT_GT(least_cosine(in_8_bits, exact), 0.98);
    EXPECT_LT(least_cosine(in_8_bits, exact), least_cosine(in_bf16, exact))
        << "nothing was rounded to 8 bits";
    for (size_t i = 0; i < exact.losses.size(); ++i) {
      EXPECT_NEAR(in_8_bits.losses[i], exact.losses[i], 0.01 * exact.losses[i]) << "step " << i;
    }
  }
}

// Scales are powers of two, so a tensor cut over ranks is rounded as the whole is, but for what lies below a
// part's range. Tensor parallelism rounds its terms to bf16 first, and gradients have two bits behind the
// point: what was nearly halfway goes the other way.
TEST(Float8, LayoutsFollowOneRank) {
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama}) {
    LayoutRun run = run_in_8_bits(family);
    const LayoutResult one = run_on_one_rank(run);
    for (const ParallelPlan& plan :
         {ParallelPlan{.data = 4}, ParallelPlan{.data = 2, .tensor = 2, .sequence = true},
          ParallelPlan{.data = 1, .tensor = 2, .pipeline = 2}}) {
      run.plan = plan;
      const LayoutResult result = run_on_threads(4, run);
      EXPECT_GT(least_cosine(result, one), plan.tensor == 1 ? 0.9999 : 0.985);
      for (size_t i = 0; i < one.losses.size(); ++i) {
        EXPECT_NEAR(result.losses[i], one.losses[i], 3e-3 * one.losses[i]) << "step " << i;
      }
    }
  }
}

}  // namespace
}  // namespace trireme::test
