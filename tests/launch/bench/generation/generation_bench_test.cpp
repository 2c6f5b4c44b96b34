#include "launch/bench/generation/generation_bench.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/bench/generation/drawn_weights.h"
#include "models/families/presets.h"
#include "models/transformer/transformer.h"
#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme::launch {
namespace {

ModelConfig tiny_model() {
  ModelConfig config = find_preset("llama-tiny")->config;
  config.vocab_size = 64;
  return config;
}

TEST(RatesOf, AreOfTheMedianAndTheEnds) {
  const Spread odd = rates_of({4, 1, 2}, 8);
  EXPECT_EQ(odd.median, 4);
  EXPECT_EQ(odd.least, 2);
  EXPECT_EQ(odd.most, 8);
  EXPECT_EQ(rates_of({1, 3}, 8).median, 4);
}

TEST(BytesOfStep, AreThoseThatAStepReads) {
  ModelConfig config = tiny_model();
  const auto table = static_cast<double>(config.vocab_size * config.hidden_size);
  double all = 0;
  for (const auto& layer : parameters_by_layer(config)) {
    for (const Parameter& p : layer) all += static_cast<double>(p.global_shape.numel());
  }
  GenerationBenchOptions options{.prompt_tokens = 32, .decode_tokens = 64, .batch = 2};
  // A byte a weight, and the cache of two sequences of 64 tokens each at the mean.
  const double bytes = bytes_of_step(config, static_cast<int64_t>(all), 32 * 10, options);
  EXPECT_NEAR(bytes, all - table + 2 * 64 * 10, 1e-6 * all);
}

TEST(BytesOfStep, OfExpertsThoseThatAreChosen) {
  ModelConfig config = tiny_model();
  config.moe.num_experts = 4;
  config.moe.experts_per_token = 1;
  GenerationBenchOptions options{.prompt_tokens = 1, .decode_tokens = 1};
  const double one = bytes_of_step(config, 1'000'000, 0, options);
  options.batch = 2;
  const double two = bytes_of_step(config, 1'000'000, 0, options);
  options.batch = 1000;
  const double many = bytes_of_step(config, 1'000'000, 0, options);
  EXPECT_NEAR((two - one) / (many - one), (7.0 / 16 - 0.25) / 0.75, 1e-9);  // 1 - (3/4)^2 of them
}

class DrawnModels : public testing::TestWithParam<ops::PackedFormat> {};

TEST_P(DrawnModels, GenerateAndAreTimed) {
  ModelConfig config = tiny_model();
  config.hidden_size = 256;  // whole blocks of every format
  config.ffn_size = 256;
  const bool is_of_ggml = ops::is_integer(GetParam()) && GetParam() < ops::PackedFormat::int8;
  const DrawnWeights weights(config, is_of_ggml ? std::optional(GetParam()) : std::nullopt);
  Context ctx;
  const auto world = make_self_communicator();
  InferenceOptions options;
  options.max_seq_len = 40;
  if (!is_of_ggml) options.weights = ops::PackedSpec{.format = GetParam()};
  InferenceModel model(ctx, *world, weights, config, options);
  EXPECT_THAT(model.loaded().formats, testing::StartsWith(ops::to_string(ops::PackedSpec{GetParam()})));
  const GenerationBenchOptions bench{
      .prompt_tokens = 37, .decode_tokens = 2, .batch = 2, .batch_tokens = 16, .repeats = 2};
  CachedModel cached(ctx, model.parallel(), model.model(), cache_for(bench));
  const GenerationTimes times = time_generation(ctx, model.parallel(), cached, bench);  // NaN would throw
  EXPECT_EQ(times.prompt_seconds.size(), 2U);
  EXPECT_EQ(times.decode_seconds.size(), 2U);
  EXPECT_GT(times.decode_seconds[0], 0);
}

INSTANTIATE_TEST_SUITE_P(Formats, DrawnModels,
                         testing::Values(ops::PackedFormat::f32, ops::PackedFormat::bf16,
                                         ops::PackedFormat::int8, ops::PackedFormat::int4,
                                         ops::PackedFormat::q8_0, ops::PackedFormat::q4_0,
                                         ops::PackedFormat::q4_1, ops::PackedFormat::q4_k,
                                         ops::PackedFormat::q6_k, ops::PackedFormat::fp8),
                         [](const auto& of) {
                           const std::string name = ops::to_string(ops::PackedSpec{of.param});
                           return name.substr(0, name.find(' '));
                         });

TEST(DrawnWeights, RowsThatAreNoWholeBlocksAreNamed) {
  const ModelConfig config = tiny_model();  // 128 wide
  EXPECT_NO_THROW(DrawnWeights(config, ops::PackedFormat::q4_0));
  try {
    const DrawnWeights refused(config, ops::PackedFormat::q6_k);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("blocks have 256 inputs"));
  }
}

TEST(DrawnWeights, HaveTheDeviationOfInitialValues) {
  const ModelConfig config = tiny_model();
  const DrawnWeights weights(config, std::nullopt);
  const Parameter p = Parameter::whole("layers.0.attention.query.weight", {128, 128}, 0.5F, 0.02F);
  std::vector<float> values(128 * 128);
  weights.read(p.name, p, values);
  double sum = 0, squares = 0;
  for (const float value : values) {
    sum += double{value} - 0.5;
    squares += (double{value} - 0.5) * (double{value} - 0.5);
  }
  const auto n = static_cast<double>(values.size());
  EXPECT_NEAR(sum / n, 0, 1e-3);
  EXPECT_NEAR(std::sqrt(squares / n), 0.02, 1e-3);
}

}  // namespace
}  // namespace trireme::launch
