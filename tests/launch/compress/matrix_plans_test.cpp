#include "launch/compress/matrix_plans.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/compress/token_texts.h"
#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

TEST(MatrixPlans, StarsStandForAnything) {
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("*.down.weight", "layers.3.ffn.down.weight"));
  EXPECT_TRUE(matches("layers.0.*", "layers.0.attention.query.weight"));
  EXPECT_TRUE(matches("layers.*.ffn.*", "layers.10.ffn.up.weight"));
  EXPECT_TRUE(matches("a*b*b",
                      "abab"
                      "b"));
  EXPECT_FALSE(matches("layers.1.*", "layers.10.ffn.up.weight"));
  EXPECT_FALSE(matches("down", "layers.3.ffn.down.weight"));
  EXPECT_FALSE(matches("*a", "ab"));
}

TEST(MatrixPlans, TablesRoutersAndSkippedOnesHaveTheirOwn) {
  QuantizeStep step;
  step.rounding.spec = {ops::PackedFormat::int4, 64};
  step.rounding.method = RoundingMethod::gptq;
  step.skip = {"*.down.weight"};
  EXPECT_EQ(plan_of(step, "layers.0.ffn.up.weight").rounding->spec, step.rounding.spec);
  for (const char* name : {"layers.0.ffn.down.weight", "layers.0.ffn.router.weight",
                           "embedding.tokens.weight", "embedding.positions.weight", "head.weight"})
    EXPECT_FALSE(plan_of(step, name).rounding) << name;
  step.embedding = {ops::PackedFormat::int8, 0};
  step.head = {ops::PackedFormat::int8, 64};
  const MatrixPlan table = plan_of(step, "embedding.tokens.weight"), head = plan_of(step, "head.weight");
  EXPECT_EQ(table.rounding->spec, *step.embedding);
  EXPECT_EQ(table.rounding->method, RoundingMethod::nearest);
  EXPECT_EQ(head.rounding->spec, *step.head);
  EXPECT_EQ(head.rounding->method, RoundingMethod::gptq);
  EXPECT_FALSE(plan_of(step, "embedding.positions.weight").rounding);
}

TEST(MatrixPlans, MatricesOfLayersArePruned) {
  PruneStep step;
  step.options.sparsity = 0.3;
  step.skip = {"*.down.weight"};
  EXPECT_DOUBLE_EQ(plan_of(step, "layers.0.ffn.up.weight").pruning->sparsity, 0.3);
  EXPECT_FALSE(plan_of(step, "layers.0.ffn.up.weight").rounding);
  for (const char* name : {"layers.0.ffn.down.weight", "layers.0.ffn.router.weight",
                           "embedding.tokens.weight", "embedding.positions.weight", "head.weight"})
    EXPECT_FALSE(plan_of(step, name).pruning) << name;
}

TEST(Samples, ComeFromPlacesThatTheSeedDraws) {
  std::vector<int32_t> ids(50);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  const auto draw = [&](uint64_t seed) {
    return draw_samples(ids, {.text = "", .samples = 20, .seed = seed}, 8, 50, "text");
  };
  const auto samples = draw(1);
  ASSERT_EQ(samples.size(), 20u);
  for (const auto& sample : samples) {
    ASSERT_EQ(sample.size(), 8u);
    for (size_t i = 1; i < 8; ++i) EXPECT_EQ(sample[i], sample[0] + static_cast<int32_t>(i));
  }
  EXPECT_EQ(samples, draw(1));
  EXPECT_NE(samples, draw(2));
}

TEST(Samples, AreNoLongerThanTheText) {
  const std::vector<int32_t> ids = {1, 2, 3};
  EXPECT_EQ(draw_samples(ids, {.text = "", .samples = 1}, 3, 9, "t.txt")[0], ids);
  try {
    draw_samples(ids, {}, 4, 9, "t.txt");
    ADD_FAILURE();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("samples of 4 tokens, and t.txt has 3"));
    EXPECT_THAT(error.what(), testing::HasSubstr("--calibration.seq-len 3"));
  }
  EXPECT_THROW(draw_samples(ids, {}, 2, 3, "t.txt"), UserError);  // id 3 of a vocabulary of 3
  EXPECT_EQ(whole_samples(ids, 1).size(), 3u);
  EXPECT_EQ(whole_samples(ids, 2), (std::vector<std::vector<int32_t>>{{1, 2}}));
}

}  // namespace
}  // namespace trireme::launch
