// Targets with weights: the loss is their weighted mean over the global batch, in any layout.
#include <cmath>
#include <functional>
#include <optional>

#include <gtest/gtest.h>

#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/ops/training/cross_entropy.h"
#include "tests/support/drawn_layout.h"
#include "tests/support/tensors.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

constexpr int64_t kLength = 6;
const std::vector<int32_t> kTokens{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8},
    kTargets{1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9};
const std::vector<float> kWeights{0.5f, 0, 1.25f, 2, 0.75f, 0, 0, 0.01f, 1, 0, 3, 0.3f};

MicroBatch batch(Context& ctx, const std::vector<int32_t>& targets, const std::vector<float>& weights = {}) {
  return make_micro_batch(ctx, 2, kLength, kTokens, targets, {}, std::nullopt, weights);
}

struct Passed {
  BatchTotals totals;
  double norm = 0;
  std::map<std::string, std::vector<float>> gradients;  // sums over tokens
};

Passed pass(const ModelConfig& model, const LossConfig& loss, const std::vector<int32_t>& targets,
            const std::vector<float>& weights = {}) {
  Context ctx;
  const auto self = make_self_communicator();
  TrainingSession session(ctx, *self, {}, model, {.max_seq_len = kLength, .loss = loss});
  MicroBatch mb = batch(ctx, targets, weights);
  PendingStep pending = session.step().forward_backward({&mb, 1});
  Passed passed{pending.totals(), pending.gradient_norm(), {}};
  session.step().for_each_parameter(0, ParameterState::gradient, [&](const Parameter& p, const Tensor& t) {
    passed.gradients[p.name] = to_vector(t);
  });
  session.step().skip(std::move(pending));
  return passed;
}

// Each target alone, without a weight, times its weight here.
TEST(TargetWeights, AreFactorsOfWhatEachTargetGivesAlone) {
  const ModelConfig model = tiny_model(ModelFamily::llama);
  for (const LossConfig& loss : {LossConfig{}, LossConfig{0.01, 0.1}, LossConfig{0.01, 0.1, 5}}) {
    const Passed together = pass(model, loss, kTargets, kWeights);
    double loss_sum = 0, added = 0, weight = 0;
    std::map<std::string, std::vector<float>> gradients;
    for (size_t i = 0; i < kTargets.size(); ++i) {
      if (kWeights[i] == 0) continue;
      std::vector<int32_t> alone(kTargets.size(), ops::kIgnoredTarget);
      alone[i] = kTargets[i];
      const Passed one = pass(model, loss, alone);
      const auto w = static_cast<double>(kWeights[i]);
      loss_sum += w * one.totals.loss_sum;
      added += w * one.totals.added_sum;
      weight += w;
      for (const auto& [name, gradient] : one.gradients) {
        auto& sum = gradients[name];
        sum.resize(gradient.size());
        for (size_t e = 0; e < gradient.size(); ++e) sum[e] += kWeights[i] * gradient[e];
      }
    }
    EXPECT_NEAR(together.totals.loss_sum, loss_sum, 1e-5 * loss_sum);
    EXPECT_NEAR(together.totals.added_sum, added, 1e-5 * added);
    EXPECT_NEAR(together.totals.weight, weight, 1e-12);
    EXPECT_NEAR(together.totals.mean_loss(), loss_sum / weight, 1e-5);
    std::string worst;
    EXPECT_LT(largest_difference(together.gradients, gradients, worst), 1e-5) << worst;
  }
}

TEST(TargetWeights, OfOneAreNone) {
  const ModelConfig model = tiny_model(ModelFamily::gpt2);
  const Passed plain = pass(model, {0.01, 0.1}, kTargets),
               ones = pass(model, {0.01, 0.1}, kTargets, std::vector<float>(kTargets.size(), 1.0f));
  EXPECT_EQ(ones.totals.loss_sum, plain.totals.loss_sum);
  EXPECT_EQ(ones.totals.added_sum, plain.totals.added_sum);
  EXPECT_EQ(ones.norm, plain.norm);
  EXPECT_EQ(ones.gradients, plain.gradients);
}

// Also where together they are less than one token, and with the terms that keep experts' load even.
TEST(TargetWeights, OnlyTheirProportionsCount) {
  ModelConfig model = tiny_model(ModelFamily::llama);
  model.moe = {.num_experts = 4, .expert_ffn_size = 12, .aux_loss = 0.1, .z_loss = 0.01};
  std::vector<float> scaled = kWeights;
  for (float& w : scaled) w *= 0x1p-7f;
  const Passed one = pass(model, {0.01, 0.1}, kTargets, kWeights),
               other = pass(model, {0.01, 0.1}, kTargets, scaled);
  EXPECT_LT(other.totals.weight, 1);
  EXPECT_NEAR(other.totals.mean_loss(), one.totals.mean_loss(), 1e-6);
  EXPECT_GT(one.totals.aux_loss_sum, 0);
  EXPECT_NEAR(other.totals.mean_objective(), one.totals.mean_objective(), 1e-6);
  EXPECT_NEAR(other.norm, one.norm, 1e-5 * one.norm);
}

TEST(TargetWeights, OfZeroEverywhereGiveNoGradients) {
  const Passed none =
      pass(tiny_model(ModelFamily::gpt2), {}, kTargets, std::vector<float>(kTargets.size(), 0.0f));
  EXPECT_EQ(none.totals.weight, 0);
  EXPECT_EQ(none.totals.loss_sum, 0);
  EXPECT_EQ(none.norm, 0);
  for (const auto& [name, gradient] : none.gradients) {
    for (const float g : gradient) ASSERT_EQ(g, 0) << name;
  }
}

// One rank's tokens all have a weight of 0: the other's mean is the mean.
TEST(TargetWeights, MayAllBeZeroOnOneRank) {
  const Passed expected = pass(tiny_model(ModelFamily::llama), {}, kTargets, kWeights);
  run_thread_ranks(2, [&](Communicator& world) {
    Context ctx;
    TrainingSession session(ctx, world, {.data = 2}, tiny_model(ModelFamily::llama),
                            {.max_seq_len = kLength, .loss = {}});
    MicroBatch mb =
        batch(ctx, kTargets, world.rank() == 0 ? kWeights : std::vector<float>(kTargets.size(), 0.0f));
    PendingStep pending = session.step().forward_backward({&mb, 1});
    EXPECT_NEAR(pending.totals().mean_loss(), expected.totals.mean_loss(), 1e-6);
    EXPECT_NEAR(pending.gradient_norm(), expected.norm, 1e-5 * expected.norm);
    session.step().skip(std::move(pending));
  });
}

TEST(TargetWeights, AreCutWithTheirTokens) {
  Context ctx;
  const std::vector<int32_t> tokens(16, 1);
  std::vector<int32_t> targets(16, 2);
  targets[9] = ops::kIgnoredTarget;
  std::vector<float> weights;
  for (int i = 0; i < 16; ++i) weights.push_back(static_cast<float>(i % 8));
  const MicroBatch mb = make_micro_batch(ctx, 2, 8, tokens, targets, {0, 2}, std::nullopt, weights);
  EXPECT_EQ(to_vector(mb.target_weights), (std::vector<float>{0, 1, 6, 7, 0, 1, 6, 7})) << "chunks 0 and 3";
  EXPECT_EQ(mb.weight, 14 + 13);
  EXPECT_EQ(mb.weight_of_sequence, (std::vector<double>{28, 27})) << "on both ranks";
  EXPECT_EQ(mb.targets.data<int32_t>()[0], ops::kIgnoredTarget);
  for (const float bad : {-1.0f, INFINITY, std::nanf("")}) {
    weights[3] = bad;
    EXPECT_THROW(make_micro_batch(ctx, 2, 8, tokens, targets, {}, std::nullopt, weights), InternalError);
  }
}

// tp, pp with its schedules, cp, ep, ZeRO, recomputation, accumulation.
class WeightedLayouts : public testing::TestWithParam<uint64_t> {};

TEST_P(WeightedLayouts, FollowOneRank) {
  LayoutRun run = draw_layout(GetParam());
  run.weighted = true;
  run.loss = {0.01, 0.1, GetParam() % 2 == 0 ? 5 : 0};
  run.steps = 4;
  const LayoutResult one = run_on_one_rank(run);
  SCOPED_TRACE(text_of(run));
  const LayoutResult result = run_on_threads(run.plan.world_size(), run);
  expect_follows(result, one);
  for (size_t s = 0; s < one.added.size(); ++s) EXPECT_NEAR(result.added[s], one.added[s], 1e-5) << s;
}

const uint64_t kFirst = 41000 + test_seed();
INSTANTIATE_TEST_SUITE_P(Drawn, WeightedLayouts, testing::Range(kFirst, kFirst + (whole_tier() ? 36 : 12)),
                         [](const auto& p) { return std::to_string(p.param); });

}  // namespace
}  // namespace trireme::test
