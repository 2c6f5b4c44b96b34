// Training without master weights: what is rounded stochastically does not depend on the layout.
#include <gtest/gtest.h>

#include "tests/support/layout_run.h"
#include "tests/support/memory_run.h"

namespace trireme::test {
namespace {

LayoutRun run_without_masters(ModelFamily family) {
  LayoutRun run;
  run.model = tiny_model(family);
  run.precision = DType::bf16;
  run.steps = 6;
  run.unequal_targets = true;
  run.master = false;
  run.options.adamw.eps = 1e-8;
  run.options.adamw.seed = 3;
  return run;
}

// Elements that differ, as a share of all.
double different_share(const LayoutResult& a, const LayoutResult& b) {
  double different = 0, all = 0;
  for (const auto& [name, values] : a.weights) {
    const auto& others = b.weights.at(name);
    for (size_t i = 0; i < values.size(); ++i) different += values[i] != others[i] ? 1 : 0;
    all += static_cast<double>(values.size());
  }
  return different / all;
}

TEST(WithoutMasters, ZeroStagesAndBucketsChangeNoBit) {
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama}) {
    LayoutRun run = run_without_masters(family);
    run.global_batch = 6;
    const LayoutResult plain = run_on_threads(3, run);
    for (const int64_t bytes : {int64_t{1}, int64_t{20000}}) {
      for (const int stage : {0, 1, 2, 3}) {
        run.plan.bucket_mib = in_mib(bytes);
        run.plan.zero_stage = stage;
        const LayoutResult result = run_on_threads(3, run);
        EXPECT_EQ(result.losses, plain.losses) << "stage " << stage;
        EXPECT_EQ(result.weights, plain.weights) << "stage " << stage;
      }
    }
  }
}

// In the first step gradients differ between layouts by bf16's rounding of activations; under data
// parallelism by fp32's alone. The random bits are equal, so hardly a weight is rounded another way.
TEST(WithoutMasters, TheSameElementsAreRoundedAlikeInOtherLayouts) {
  LayoutRun run = run_without_masters(ModelFamily::llama);
  run.steps = 1;
  const LayoutResult one = run_on_one_rank(run);
  EXPECT_LT(different_share(run_on_threads(4, run), one), 0.002);
  run.plan.tensor = 2;
  EXPECT_LT(different_share(run_on_threads(2, run), one), 0.02);
  EXPECT_LT(different_share(run_on_threads(4, run), one), 0.02);
  run.plan = {};
  run.options.adamw.seed = 4;
  EXPECT_GT(different_share(run_on_one_rank(run), one), 0.2) << "another seed rounds otherwise";
}

TEST(WithoutMasters, StayCloseToARunWithMasters) {
  LayoutRun run = run_without_masters(ModelFamily::gpt2);
  run.steps = 20;
  const LayoutResult without = run_on_one_rank(run);
  run.master = true;
  const LayoutResult with = run_on_one_rank(run);
  for (size_t i = 0; i < with.losses.size(); ++i) {
    EXPECT_NEAR(without.losses[i], with.losses[i], 0.01 * with.losses[i]) << i;
  }
}

TEST(WithoutMasters, ThereIsNoHiddenCopy) {
  LayoutRun run = run_without_masters(ModelFamily::llama);
  run.model.num_layers = 12;
  run.model.hidden_size = 256;
  run.model.ffn_size = 128;
  run.plan.data = 1;
  run.seq_len = 4;
  expect_memory_as_predicted(run);
}

}  // namespace
}  // namespace trireme::test
