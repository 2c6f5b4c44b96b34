// Statistics of inputs are one rank's in any layout, and what the samples give by hand; so are the codes.
#include <gtest/gtest.h>

#include "tests/models/compress/quantized_model.h"
#include "tests/support/inference_models.h"

namespace trireme::test {
namespace {

struct LayoutCase {
  std::string name;
  ParallelPlan plan;
};

std::vector<LayoutCase> layouts() {
  using enum ScheduleKind;
  return {{"data2", {.data = 2}},
          {"tensor2", {.data = 1, .tensor = 2}},
          {"tensor2_sequence", {.data = 1, .tensor = 2, .sequence = true}},
          {"tensor4", {.data = 1, .tensor = 4}},
          {"pipeline2", {.data = 1, .pipeline = 2}},
          {"virtual2x2", {.data = 1, .pipeline = 2, .schedule = interleaved, .virtual_stages = 2}},
          {"data2_tensor2", {.data = 2, .tensor = 2}},
          {"pipeline2_tensor2", {.data = 1, .tensor = 2, .pipeline = 2}}};
}

std::vector<LayoutCase> layouts_with_experts() {
  return {{"experts2", {.data = 2, .expert = 2}},
          {"experts2_tensor2", {.data = 2, .tensor = 2, .expert = 2}},
          {"experts2_whole_tensor2", {.data = 1, .tensor = 2, .expert = 2, .expert_tensor = 1}},
          {"experts4_of_data4", {.data = 4, .expert = 4}},
          {"experts2_pipeline2", {.data = 2, .pipeline = 2, .expert = 2}},
          {"whole_experts_tensor2", {.data = 1, .tensor = 2, .expert_tensor = 1}}};
}

void expect_near(const InputStatistics& found, const InputStatistics& one, double tolerance) {
  ASSERT_EQ(found.inputs, one.inputs);
  EXPECT_EQ(found.tokens, one.tokens);
  const auto near = [&](const auto& a, const auto& b) {
    ASSERT_EQ(a.size(), b.size());
    double largest = 0;
    for (const auto x : b) largest = std::max(largest, std::abs(static_cast<double>(x)));
    for (size_t i = 0; i < a.size(); ++i)
      ASSERT_NEAR(static_cast<double>(a[i]), static_cast<double>(b[i]), tolerance * largest) << i;
  };
  near(found.hessian, one.hessian);
  near(found.magnitudes, one.magnitudes);
  near(found.largest, one.largest);
}

// Codes may differ where a value lies between two.
int64_t num_different(const KeptResults& a, const KeptResults& b, int64_t& total) {
  int64_t different = 0;
  EXPECT_EQ(a.matrices.size(), b.matrices.size());
  for (const auto& [name, matrix] : b.matrices) {
    const ops::CodedMatrix& other = a.matrices.at(name);
    EXPECT_EQ(other.spec, matrix.spec) << name;
    EXPECT_EQ(other.order.size(), matrix.order.size()) << name;
    EXPECT_EQ(other.codes.size(), matrix.codes.size()) << name;
    for (size_t i = 0; i < matrix.codes.size(); ++i) different += other.codes[i] != matrix.codes[i];
    total += std::ssize(matrix.codes);
  }
  return different;
}

QuantizeModelOptions some_options(const ModelConfig& config, const RoundingOptions& rounding) {
  QuantizeModelOptions options;
  options.plan = plan_of_all(rounding);
  options.samples = some_samples(config, 7, 24);
  return options;
}

// Codes of rounding to nearest follow from the weights alone. GPTQ's may differ where a value lies between
// two, and then the inputs of what comes after differ as well.
void expect_one_ranks(const ModelConfig& config, const std::vector<LayoutCase>& cases,
                      const RoundingOptions& rounding = {.spec = {ops::PackedFormat::int8, 0}}) {
  const bool is_nearest = rounding.method == RoundingMethod::nearest;
  const InitialWeights weights(config);
  const QuantizeModelOptions options = some_options(config, rounding);
  const QuantizedRun one = quantize_in({.data = 1}, weights, options);
  EXPECT_LT(relative_difference(one.logits, one.logits_before), 0.4);
  EXPECT_NE(one.logits, one.logits_before);
  for (const LayoutCase& c : cases) {
    SCOPED_TRACE(c.name);
    const QuantizedRun run = quantize_in(c.plan, weights, options);
    ASSERT_EQ(run.statistics.size(), one.statistics.size());
    for (const auto& [name, statistics] : one.statistics) {
      SCOPED_TRACE(name);
      expect_near(run.statistics.at(name), statistics, is_nearest ? 1e-6 : 1e-2);
    }
    int64_t total = 0;
    const int64_t different = num_different(run.kept, one.kept, total);
    EXPECT_LE(different, is_nearest ? 0 : total / 100);
    EXPECT_EQ(run.kept.tensors, one.kept.tensors);
    EXPECT_EQ(run.kept.done, one.kept.done);
    EXPECT_LT(relative_difference(run.logits, one.logits), is_nearest ? 1e-5 : 1e-2);
    ASSERT_EQ(run.outcomes.size(), one.outcomes.size());
    for (size_t i = 0; i < one.outcomes.size(); ++i) {
      EXPECT_EQ(run.outcomes[i].name, one.outcomes[i].name);
      EXPECT_EQ(run.outcomes[i].tokens, one.outcomes[i].tokens);
      EXPECT_NEAR(run.outcomes[i].report.error, one.outcomes[i].report.error,
                  0.05 * one.outcomes[i].report.error);
    }
  }
}

TEST(CalibrationLayouts, OfDenseModelsGiveOneRanksStatisticsAndCodes) {
  const auto models = inference_models(48);
  expect_one_ranks(models[0].config, layouts());
  expect_one_ranks(models[1].config, {layouts()[1], layouts()[4]});  // gpt2: biases, a tied table
}

TEST(CalibrationLayouts, OfMixturesGiveOneRanksStatisticsAndCodes) {
  const ModelConfig config = inference_models(48)[2].config;
  expect_one_ranks(config, layouts_with_experts());
  expect_one_ranks(config, {layouts()[0], layouts()[7]});
}

// Fewer samples than replicas: some of them have none, and take part all the same.
TEST(CalibrationLayouts, OfRanksWithoutSamples) {
  const ModelConfig config = inference_models(48)[2].config;
  const InitialWeights weights(config);
  QuantizeModelOptions options = some_options(config, {.spec = {ops::PackedFormat::int8, 0}});
  options.samples.resize(1);
  const QuantizedRun one = quantize_in({.data = 1}, weights, options);
  for (const ParallelPlan& plan :
       {ParallelPlan{.data = 2, .expert = 2}, ParallelPlan{.data = 2, .tensor = 2}}) {
    const QuantizedRun run = quantize_in(plan, weights, options);
    for (const auto& [name, statistics] : one.statistics) {
      SCOPED_TRACE(name);
      expect_near(run.statistics.at(name), statistics, 1e-6);
    }
  }
}

TEST(CalibrationLayouts, OfSharedWeightsReachAllWhoHaveThem) {
  expect_one_ranks(inference_models(48)[3].config, {layouts()[4], layouts()[5], layouts()[7]});
}

// Of 48 and 32 columns of a rank, with groups of 32.
ModelConfig in_groups(ModelConfig config) {
  config.num_layers = 2;
  config.hidden_size = 128;
  config.num_heads = config.num_kv_heads = 4;
  config.ffn_size = 96;
  return config;
}

TEST(CalibrationLayouts, OfGroupsThatRanksCutComputeWithTheirValues) {
  const ModelConfig config = in_groups(inference_models(48)[0].config);
  const std::vector<LayoutCase> cases{layouts()[1], layouts()[3], layouts()[6]};
  using enum ColumnOrder;
  for (const ColumnOrder order : {as_is, static_groups, groups}) {
    expect_one_ranks(config, cases,
                     {.spec = {ops::PackedFormat::int8, 32, order != groups},
                      .method = RoundingMethod::gptq,
                      .order = order});
  }
}

TEST(CalibrationLayouts, OfExpertsHaveOrdersOfTheirOwn) {
  ModelConfig config = in_groups(inference_models(48)[2].config);
  config.moe.expert_ffn_size = 64;
  config.moe.shared_ffn_size = 32;
  expect_one_ranks(
      config, {layouts_with_experts()[0], layouts_with_experts()[1], layouts_with_experts()[2]},
      {.spec = {ops::PackedFormat::int8, 32}, .method = RoundingMethod::gptq, .order = ColumnOrder::groups});
}

}  // namespace
}  // namespace trireme::test
