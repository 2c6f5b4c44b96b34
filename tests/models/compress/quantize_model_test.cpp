// A model that is quantized in place: what the sink gets rebuilds it, and what goes wrong is said.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "tests/models/compress/quantized_model.h"
#include "tests/support/expect_error.h"
#include "tests/support/inference_models.h"

namespace trireme::test {
namespace {

using ops::PackedFormat;

ModelConfig llama() { return inference_models(32)[0].config; }
ModelConfig mixture() { return inference_models(32)[2].config; }

RoundingOptions gptq(const ops::PackedSpec& spec) { return {.spec = spec, .method = RoundingMethod::gptq}; }

QuantizeModelOptions options_of(const ModelConfig& config, const RoundingOptions& rounding) {
  QuantizeModelOptions options;
  options.plan = plan_of_all(rounding);
  options.samples = some_samples(config, 4, 20);
  return options;
}

// Logits of a model that is loaded with what the sink has.
std::vector<float> logits_of(const KeptResults& kept, const ModelConfig& config, bool as_codes = true) {
  const auto self = make_self_communicator();
  Context ctx;
  const KeptSource source(kept, as_codes);
  InferenceModel model(ctx, *self, source, config,
                       {.plan = {.data = 1}, .activations = ops::Activations::exact});
  return logits_of_samples(ctx, model.model(), some_samples(config, 3, config.max_positions / 2, 77));
}

// By hand: in fp64, of the inputs of the first block's query, which no matrix of a block comes before.
TEST(QuantizeModel, SumsTheInputsOfTheFirstBlock) {
  const ModelConfig config = llama();
  const InitialWeights weights(config);
  const QuantizeModelOptions options = options_of(config, gptq({PackedFormat::int8, 0}));
  QuantizeModelOptions untied = options;
  untied.plan.plan_of = [](const std::string& name) -> MatrixPlan {
    if (!name.starts_with("layers.0.attention.q")) return {};
    return {gptq({PackedFormat::int8, 0})};
  };
  const QuantizedRun run = quantize_in({.data = 1}, weights, untied);
  ASSERT_EQ(run.statistics.size(), 1u);
  const InputStatistics& found = run.statistics.begin()->second;
  const auto source = weights.open();
  const auto read = [&](const std::string& name, const Shape& shape) {
    std::vector<float> values(static_cast<size_t>(shape.numel()));
    source->read(name, Parameter::whole(name, shape, 0, 0), values);
    return values;
  };
  const int64_t width = config.hidden_size;
  const auto table = read("embedding.tokens.weight", {config.vocab_size, width}),
             gain = read("layers.0.attention_norm.gain", {width});
  std::vector<double> hessian(static_cast<size_t>(width * width), 0.0), x(static_cast<size_t>(width));
  for (const auto& sample : options.samples) {
    for (const int32_t token : sample) {
      double squares = 0;
      for (int64_t i = 0; i < width; ++i) {
        x[i] = table[token * width + i];
        squares += x[i] * x[i];
      }
      const double factor = 1 / std::sqrt(squares / static_cast<double>(width) + config.norm_eps);
      for (int64_t i = 0; i < width; ++i) x[i] *= factor * gain[i];
      for (int64_t i = 0; i < width; ++i)
        for (int64_t j = 0; j < width; ++j) hessian[i * width + j] += x[i] * x[j];
    }
  }
  EXPECT_EQ(found.tokens, 4 * 20);
  const double largest = *std::ranges::max_element(hessian);
  for (size_t i = 0; i < hessian.size(); ++i) ASSERT_NEAR(found.hessian[i], hessian[i], 1e-6 * largest) << i;
}

TEST(QuantizeModel, GivesTheSinkWhatRebuildsIt) {
  ModelConfig with_groups = mixture();
  with_groups.hidden_size = 64;
  with_groups.ffn_size = with_groups.moe.expert_ffn_size = 96;
  with_groups.moe.shared_ffn_size = 32;
  const auto edge = edge_models(32);
  for (const ModelConfig& config :
       {llama(), mixture(), inference_models(32)[1].config, with_groups, edge[0].config, edge[1].config}) {
    SCOPED_TRACE(config.hidden_size);
    const InitialWeights weights(config);
    RoundingOptions rounding = gptq({PackedFormat::int4, 0});
    if (config.hidden_size == 64) {
      rounding = {.spec = {PackedFormat::int8, 32, false},
                  .method = RoundingMethod::gptq,
                  .order = ColumnOrder::groups};
    }
    if (config.family == ModelFamily::gpt2) rounding = gptq({PackedFormat::fp8});
    const QuantizedRun run = quantize_in({.data = 1}, weights, options_of(config, rounding));
    EXPECT_EQ(logits_of(run.kept, config), run.logits);
    EXPECT_LT(relative_difference(logits_of(run.kept, config, false), run.logits), 1e-5);
    EXPECT_NE(run.logits, run.logits_before);
    std::vector<int64_t> units;
    for (int64_t i = -1; i <= config.num_layers; ++i) units.push_back(i);
    EXPECT_EQ(run.kept.done, units);
    EXPECT_EQ(run.outcomes.size(), run.kept.matrices.size());
    ASSERT_FALSE(run.progress.empty());
    for (size_t i = 1; i < run.progress.size(); ++i)
      EXPECT_EQ(run.progress[i].done, run.progress[i - 1].done + 1);
    EXPECT_EQ(run.progress.back().done, run.progress.back().total);
  }
}

TEST(QuantizeModel, SeparatesDocuments) {
  const ModelConfig config = llama();
  const InitialWeights weights(config);
  QuantizeModelOptions options = options_of(config, gptq({PackedFormat::int8, 0}));
  options.plan.sequential = false;
  options.samples = {{4, 9, 17, 0, 21, 3, 8, 30}, {1, 2, 3, 0, 3, 2, 1, 5}};
  options.end_of_text = 0;
  const QuantizedRun together = quantize_in({.data = 1}, weights, options);
  options.samples = {{4, 9, 17, 0}, {21, 3, 8, 30}, {1, 2, 3, 0}, {3, 2, 1, 5}};
  options.end_of_text = {};
  const QuantizedRun apart = quantize_in({.data = 1}, weights, options);
  const auto &found = together.statistics.at("layers.0.attention.output.weight").hessian,
             &expected = apart.statistics.at("layers.0.attention.output.weight").hessian;
  const double largest = *std::ranges::max_element(expected);
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(found[i], expected[i], 1e-5 * largest) << i;
}

TEST(QuantizeModel, RoundsModelsOfHalfTypes) {
  const ModelConfig config = inference_models(32)[4].config;  // norms on both sides, windows, caps
  const InitialWeights weights(config);
  QuantizeModelOptions options = options_of(config, gptq({PackedFormat::int8, 0}));
  options.plan.scaling = InputScaling::smooth_quant;
  const QuantizedRun run = quantize_in({.data = 1, .tensor = 2}, weights, options, DType::bf16);
  EXPECT_LT(relative_difference(run.logits, run.logits_before), 0.1);
  EXPECT_NE(run.logits, run.logits_before);
}

TEST(QuantizeModel, RoundsToNearestWithoutSamples) {
  const ModelConfig config = llama();
  const InitialWeights weights(config);
  QuantizeModelOptions options = options_of(config, {.spec = {PackedFormat::int8, 0}});
  const QuantizedRun with = quantize_in({.data = 1}, weights, options);
  options.samples.clear();
  const QuantizedRun without = quantize_in({.data = 1}, weights, options);
  EXPECT_EQ(without.logits, with.logits);
  EXPECT_EQ(without.outcomes.front().tokens, 0);
}

TEST(QuantizeModel, CalibratesOnQuantizedLayersOnlyWhenSequential) {
  const ModelConfig config = llama();
  const InitialWeights weights(config);
  QuantizeModelOptions options = options_of(config, gptq({PackedFormat::int4, 0}));
  const QuantizedRun sequential = quantize_in({.data = 1}, weights, options);
  options.plan.sequential = false;
  const QuantizedRun at_once = quantize_in({.data = 1}, weights, options);
  const auto hessian = [](const QuantizedRun& run, const char* name) {
    return run.statistics.at(name).hessian;
  };
  EXPECT_EQ(hessian(sequential, "layers.0.attention.query.weight"),
            hessian(at_once, "layers.0.attention.query.weight"));
  EXPECT_NE(hessian(sequential, "layers.0.ffn.down.weight"), hessian(at_once, "layers.0.ffn.down.weight"));
}

TEST(QuantizeModel, LeavesOutWhatIsNotPlanned) {
  const ModelConfig config = llama();
  const InitialWeights weights(config);
  QuantizeModelOptions options = options_of(config, gptq({PackedFormat::int4, 0}));
  options.plan.plan_of = [](const std::string& name) -> MatrixPlan {
    if (name.ends_with("key.weight") || name.starts_with("embedding") || name == "head.weight") return {};
    return {gptq({PackedFormat::int4, 0, !name.ends_with("gate.weight")})};
  };
  const QuantizedRun run = quantize_in({.data = 1}, weights, options);
  EXPECT_FALSE(run.kept.matrices.contains("layers.1.attention.key.weight"));
  EXPECT_TRUE(run.kept.tensors.contains("layers.1.attention.key.weight"));
  EXPECT_TRUE(run.kept.matrices.contains("layers.1.attention.query.weight"));
  EXPECT_EQ(logits_of(run.kept, config), run.logits);
}

TEST(QuantizeModel, ResumesWithTheSameBits) {
  for (const bool scales : {false, true}) {
    const ModelConfig config = scales ? llama() : inference_models(32)[1].config;
    const InitialWeights weights(config);
    QuantizeModelOptions options = options_of(config, gptq({PackedFormat::int4, 0}));
    if (scales) options.plan.scaling = InputScaling::awq;
    const QuantizedRun whole = quantize_in({.data = 1}, weights, options);
    for (const int64_t finished : {1, 3, static_cast<int>(config.num_layers) + 2}) {
      SCOPED_TRACE(finished);
      const KeptSource source(whole.kept);
      options.finished = &source;
      options.num_finished_blocks = finished;
      const QuantizedRun rest = quantize_in({.data = 1, .tensor = 1, .pipeline = 2}, weights, options);
      EXPECT_EQ(rest.logits, whole.logits);
      EXPECT_EQ(std::ssize(rest.kept.done), config.num_layers + 2 - finished);
      for (const auto& [name, matrix] : rest.kept.matrices)
        EXPECT_EQ(matrix.codes, whole.kept.matrices.at(name).codes) << name;
      for (const auto& [name, values] : rest.kept.tensors)
        EXPECT_EQ(values, whole.kept.tensors.at(name)) << name;
    }
  }
}

TEST(QuantizeModel, RoundsExpertsWithoutTokensToNearest) {
  const ModelConfig config = mixture();
  const InitialWeights weights(config);
  QuantizeModelOptions options = options_of(config, gptq({PackedFormat::int4, 0}));
  options.samples = some_samples(config, 1, 1);  // two of four experts at most
  const QuantizedRun run = quantize_in({.data = 1}, weights, options);
  int64_t without = 0;
  for (const MatrixOutcome& outcome : run.outcomes) {
    if (outcome.name.find(".experts.") == std::string::npos || outcome.tokens > 0) continue;
    ++without;
    EXPECT_NE(outcome.what.find("nearest"), std::string::npos) << outcome.what;
    EXPECT_FALSE(outcome.report.note.empty());
    for (const float scale : run.kept.matrices.at(outcome.name).scales) EXPECT_TRUE(std::isfinite(scale));
  }
  EXPECT_EQ(without, 2 * 2 * 3);  // of two blocks two experts' matrices
  options.plan.all_experts = true;
  for (const MatrixOutcome& outcome : quantize_in({.data = 1}, weights, options).outcomes) {
    if (outcome.name.starts_with("layers.")) {
      EXPECT_GT(outcome.tokens, 0) << outcome.name;
    }
  }
}

TEST(QuantizeModel, ShowsAllExpertsAllTokensAndLeavesOutputsAlone) {
  const ModelConfig config = mixture();
  const InitialWeights weights(config);
  QuantizeModelOptions options = options_of(config, gptq({PackedFormat::int8, 0}));
  options.plan.sequential = false;
  options.plan.plan_of = [](const std::string& name) -> MatrixPlan {
    // What lies behind the first mixture shows whether its outputs changed.
    const bool seen = name.starts_with("layers.0.ffn.experts") || name.starts_with("layers.1.attention.q");
    return seen ? MatrixPlan{gptq({PackedFormat::int8, 0})} : MatrixPlan{};
  };
  const QuantizedRun routed = quantize_in({.data = 1}, weights, options);
  options.plan.all_experts = true;
  const QuantizedRun all = quantize_in({.data = 1}, weights, options);
  for (const auto& [name, statistics] : all.statistics) {
    EXPECT_EQ(statistics.tokens, 4 * 20) << name;
    if (name.find("experts") != std::string::npos) {
      EXPECT_LT(routed.statistics.at(name).tokens, 4 * 20) << name;
    }
  }
  const std::string behind = "layers.1.attention.query.weight";
  // The quantized experts differ by a few codes, as their statistics do.
  const auto &a = all.statistics.at(behind).hessian, &b = routed.statistics.at(behind).hessian;
  double difference = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference = std::max(difference, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  EXPECT_LT(difference, 0.01 * largest);
  const QuantizedRun divided = quantize_in({.data = 2, .tensor = 2, .expert = 2}, weights, options);
  for (const auto& [name, statistics] : all.statistics) {
    const auto& other = divided.statistics.at(name);
    EXPECT_EQ(other.tokens, statistics.tokens) << name;
    const double of_name = *std::ranges::max_element(statistics.hessian);
    for (size_t i = 0; i < statistics.hessian.size(); ++i)
      ASSERT_NEAR(other.hessian[i], statistics.hessian[i], 1e-5 * of_name) << name;
  }
}

TEST(QuantizeModel, DropsNoTokensAboveCapacity) {
  ModelConfig config = mixture();
  config.moe.capacity = CapacityMode::drop;
  config.moe.capacity_factor = 0.3;
  const InitialWeights weights(config);
  const QuantizedRun run =
      quantize_in({.data = 1}, weights, options_of(config, gptq({PackedFormat::int8, 0})));
  int64_t tokens = 0;
  for (const auto& [name, statistics] : run.statistics) {
    if (name.starts_with("layers.0.ffn.experts") && name.ends_with("down.weight"))
      tokens += statistics.tokens;
  }
  EXPECT_EQ(tokens, 4 * 20 * config.moe.experts_per_token);
}

TEST(QuantizeModel, RefusesWhatDoesNotFit) {
  const ModelConfig config = llama();
  const InitialWeights weights(config);
  QuantizeModelOptions options = options_of(config, gptq({PackedFormat::int4, 32}));
  const auto run = [&] { quantize_in({.data = 1}, weights, options); };
  expect_error(ExitCode::usage, {"groups of 32", "24 inputs", "0"}, run);
  options = options_of(config, gptq({PackedFormat::int4, 0}));
  options.samples[2].pop_back();
  expect_error(ExitCode::bad_input, {"sample 2", "19", "20"}, run);
  options.samples = some_samples(config, 2, 33);
  expect_error(ExitCode::bad_input, {"33 tokens", "32"}, run);
  options.samples = some_samples(config, 2, 5);
  options.samples[1][3] = 37;
  expect_error(ExitCode::bad_input, {"sample 1", "37"}, run);
  options.samples.clear();
  expect_error(ExitCode::bad_input, {"no samples"}, run);
}

}  // namespace
}  // namespace trireme::test
