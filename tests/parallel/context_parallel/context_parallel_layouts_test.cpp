// Context parallelism follows one rank: gradients, norms, losses and weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/families/family.h"
#include "tests/support/layout_run.h"

namespace trireme::test {
namespace {

struct Case {
  ModelFamily family;
  int data, context, tensor;
  bool sequence = false;
  int64_t micro_batch = 1;
  bool unequal = false;
  int pipeline = 1;
};

std::string name_of(const testing::TestParamInfo<Case>& p) {
  const Case& c = p.param;
  return fmt::format("{}_dp{}_pp{}_cp{}_tp{}{}_micro{}{}", to_string(c.family), c.data, c.pipeline, c.context,
                     c.tensor, c.sequence ? "_sequence" : "", c.micro_batch, c.unequal ? "_unequal" : "");
}

class ContextParallelLayouts : public testing::TestWithParam<Case> {
 protected:
  LayoutRun run() const {
    const Case& c = GetParam();
    LayoutRun r;
    r.model = tiny_model(c.family);
    r.seq_len = 16;
    r.micro_batch = c.micro_batch;
    r.unequal_targets = c.unequal;
    r.plan = {.data = c.data,
              .tensor = c.tensor,
              .pipeline = c.pipeline,
              .context = c.context,
              .sequence = c.sequence};
    r.plan.bucket_mib = in_mib(4096);
    return r;
  }
  LayoutResult run_layout_of(const LayoutRun& r) const { return run_on_threads(r.plan.world_size(), r); }
};

TEST_P(ContextParallelLayouts, FollowOneRank) {
  expect_follows(run_layout_of(run()), run_on_one_rank(run()));
}

TEST_P(ContextParallelLayouts, AreEqualBitForBitFromRunToRun) {
  LayoutRun r = run();
  r.steps = 3;
  const LayoutResult first = run_layout_of(r), second = run_layout_of(r);
  EXPECT_EQ(first.losses, second.losses);
  EXPECT_EQ(first.weights, second.weights);
}

// Weights are not compared: AdamW makes full steps of what rounding leaves of small gradients.
TEST_P(ContextParallelLayouts, FollowOneRankInBf16AsFarAsItsRoundingGoes) {
  LayoutRun r = run();
  r.precision = DType::bf16;
  LayoutResult result = run_layout_of(r), one = run_on_one_rank(r);
  one.weights.clear();
  for (LayoutResult* either : {&result, &one}) {
    std::erase_if(either->gradients, [](const auto& entry) { return entry.first.ends_with("key.bias"); });
  }
  expect_follows(result, one, {.gradients = 0.03, .losses = 3e-4, .norms = 3e-3, .later = 0.01});
}

constexpr auto kGpt2 = ModelFamily::gpt2, kLlama = ModelFamily::llama;  // llama: two key-value heads
INSTANTIATE_TEST_SUITE_P(
    All, ContextParallelLayouts,
    testing::Values(Case{kGpt2, 1, 2, 1}, Case{kGpt2, 1, 4, 1, false, 2, true}, Case{kGpt2, 1, 8, 1},
                    Case{kGpt2, 1, 2, 2, true, 1, true}, Case{kGpt2, 2, 2, 1, false, 2},
                    Case{kLlama, 1, 2, 1, false, 4}, Case{kLlama, 1, 4, 1, false, 1, true},
                    Case{kLlama, 1, 2, 2}, Case{kLlama, 1, 2, 4, true, 2},
                    Case{kLlama, 2, 2, 1, false, 1, true}, Case{kLlama, 2, 2, 2, true, 1, true},
                    Case{kGpt2, 1, 2, 1, false, 1, true, 2}, Case{kLlama, 1, 2, 2, true, 1, true, 2}),
    name_of);

TEST(ContextParallel, ThreeRanksAndAnOddHeadSize) {
  LayoutRun r;
  r.model = tiny_model(ModelFamily::gpt2);
  r.model.hidden_size = 28;
  r.seq_len = 6;  // chunks of one token
  r.micro_batch = 2;
  r.plan = {.context = 3};
  r.steps = 10;
  expect_follows(run_on_threads(3, r), run_on_one_rank(r));
}

// ZeRO divides over the data ranks and the context ranks together.
TEST(ContextParallel, ZeroEqualsPlainContextParallelismBitForBit) {
  for (const DType precision : {DType::f32, DType::bf16}) {
    LayoutRun r;
    r.model = tiny_model(ModelFamily::llama);
    r.precision = precision;
    r.plan = {.data = 2, .context = 2};
    r.unequal_targets = true;
    r.steps = 5;
    r.plan.bucket_mib = in_mib(20000);
    const LayoutResult plain = run_on_threads(4, r);
    for (const int stage : {1, 2}) {
      r.plan.zero_stage = stage;
      const LayoutResult result = run_on_threads(4, r);
      EXPECT_EQ(result.losses, plain.losses) << stage;
      EXPECT_EQ(result.norms, plain.norms) << stage;
      EXPECT_EQ(result.weights, plain.weights) << stage;
    }
  }
}

TEST(ContextParallel, ActivationsShrinkWithTheRanks) {
  LayoutRun r;
  r.model = tiny_model(ModelFamily::gpt2);
  r.model.max_positions = r.seq_len = 256;
  r.global_batch = 1;
  r.steps = 1;
  const auto activations = [](const LayoutResult& result) {
    return static_cast<double>(result.peak_bytes[static_cast<size_t>(MemoryCategory::activations)]);
  };
  const double one = activations(run_on_one_rank(r));
  for (const int size : {2, 4}) {
    r.plan = {.context = size};
    EXPECT_NEAR(activations(run_on_threads(size, r)), one / size, 0.01 * one) << size;
  }
}

TEST(ContextParallel, LengthsThatDoNotDivideAreADefectInTraining) {
  LayoutRun r;
  r.model = tiny_model(ModelFamily::gpt2);
  r.seq_len = 10;
  r.plan = {.context = 2};
  EXPECT_THROW(run_on_threads(2, r), InternalError);
}

}  // namespace
}  // namespace trireme::test
