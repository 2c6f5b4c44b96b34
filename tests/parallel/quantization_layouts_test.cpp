// Training through quantization: gradients pass straight through, and every layout follows one rank.
#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/layout_run.h"

namespace trireme::test {
namespace {

using ops::Activations;
using ops::PackedFormat;

LayoutRun quantized_run(ModelFamily family, const QuantizationConfig& quantization) {
  LayoutRun run;
  run.model = tiny_model(family);
  run.model.num_layers = 2;
  run.model.hidden_size = 64;
  run.model.ffn_size = 128;
  run.model.quantization = quantization;
  run.steps = 4;
  run.unequal_targets = true;
  return run;
}

QuantizationConfig measured() { return {.weights = {PackedFormat::int4, 32}}; }

QuantizationConfig learned() {
  QuantizationConfig quantization = measured();
  quantization.learned_scales = true;
  return quantization;
}

void expect_layouts_follow(LayoutRun run, std::initializer_list<ParallelPlan> plans) {
  const LayoutResult one = run_on_one_rank(run);
  for (const ParallelPlan& plan : plans) {
    run.plan = plan;
    const LayoutResult result = run_on_threads(plan.world_size(), run);
    // Weights that two layouts have a rounding apart become neighbouring codes now and then.
    expect_follows(result, one, {.gradients = 2e-5, .losses = 2e-3, .norms = 2e-5, .later = 5e-2});
  }
}

TEST(QuantizationLayouts, DenseModelsFollowOneRank) {
  const std::initializer_list<ParallelPlan> plans = {{.data = 2, .zero_stage = 3},
                                                     {.data = 1, .tensor = 2, .sequence = true},
                                                     {.data = 1, .tensor = 2, .pipeline = 2},
                                                     {.data = 1, .context = 2, .zero_stage = 2}};
  for (const QuantizationConfig& quantization : {measured(), learned()}) {
    expect_layouts_follow(quantized_run(ModelFamily::llama, quantization), plans);
    expect_layouts_follow(quantized_run(ModelFamily::gpt2, quantization), {{.data = 2, .tensor = 2}});
  }
}

TEST(QuantizationLayouts, MixturesFollowOneRank) {
  for (const QuantizationConfig& quantization : {measured(), learned()}) {
    LayoutRun run = quantized_run(ModelFamily::llama, quantization);
    run.model.moe.num_experts = 4;
    run.model.moe.shared_ffn_size = 64;
    expect_layouts_follow(run, {{.data = 2, .expert = 2, .zero_stage = 2},
                                {.data = 2, .expert = 2, .expert_chunks = 2},
                                {.data = 1, .tensor = 2}});
  }
}

TEST(QuantizationLayouts, RecomputationChangesNoBit) {
  for (const QuantizationConfig& quantization : {measured(), learned()}) {
    LayoutRun run = quantized_run(ModelFamily::llama, quantization);
    run.model.quantization.embedding = run.model.quantization.head = true;
    const LayoutResult kept = run_on_one_rank(run);
    for (const RecomputeMode mode : {RecomputeMode::selective, RecomputeMode::full}) {
      run.recomputation.mode = mode;
      const LayoutResult again = run_on_one_rank(run);
      EXPECT_EQ(again.weights, kept.weights);
      EXPECT_EQ(again.losses, kept.losses);
    }
  }
}

TEST(QuantizationLayouts, ChunksOfLogitsFollow) {
  LayoutRun run = quantized_run(ModelFamily::gpt2, measured());
  run.model.quantization.embedding = run.model.quantization.head = true;
  const LayoutResult one = run_on_one_rank(run);
  run.loss.chunk_tokens = 5;
  expect_follows(run_on_one_rank(run), one, {.losses = 2e-3, .later = 5e-2});
}

// Matrices that are rounded already are their own codes: training through the rounding has their gradients.
TEST(QuantizationLayouts, LossesFallThroughTheRounding) {
  for (const QuantizationConfig& quantization : {measured(), learned()}) {
    LayoutRun run = quantized_run(ModelFamily::llama, quantization);
    run.steps = 30;
    run.lr = 3e-3;
    const LayoutResult result = run_on_one_rank(run);
    run.model.quantization = {};
    const LayoutResult plain = run_on_one_rank(run);
    EXPECT_NE(result.losses.front(), plain.losses.front());
    EXPECT_LT(result.losses.back(),
              result.losses.front() - 0.5 * (plain.losses.front() - plain.losses.back()));
  }
}

}  // namespace
}  // namespace trireme::test
