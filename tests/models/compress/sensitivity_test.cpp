// What rounding a matrix does to a model, measured: in all layouts, and without a trace.
#include <gtest/gtest.h>

#include "models/compress/sensitivity.h"
#include "models/formats/open_weights.h"
#include "tests/models/inference/loading.h"
#include "tests/support/expect_error.h"
#include "tests/support/inference_models.h"

namespace trireme::test {
namespace {

using enum ops::PackedFormat;
constexpr int64_t kLength = 24;

std::vector<std::vector<int32_t>> samples_of(const ModelConfig& config, uint64_t count) {
  std::vector<std::vector<int32_t>> samples;
  for (uint64_t i = 0; i < count; ++i) samples.push_back(some_text(config.vocab_size, kLength, 50 + i));
  return samples;
}

ModelConfig dense(ModelFamily family) {
  ModelConfig config = tiny_model(family);
  config.max_positions = 32;
  return config;
}

ModelConfig mixture() {
  ModelConfig config = dense(ModelFamily::llama);
  config.moe = {.num_experts = 4, .expert_ffn_size = 12, .shared_ffn_size = 16, .first_block = 1};
  return config;
}

struct Case {
  const ModelConfig& config;
  std::string path;

  std::vector<WidthUnit> measured(Communicator& world, const ParallelPlan& plan,
                                  const SensitivityOptions& options, int num_threads = 1) const {
    Context ctx({}, num_threads);
    const auto source = open_weights(find_weights(path), config);
    InferenceModel model(ctx, world, *source, config, {.plan = plan});
    const auto before = held_values(ctx, model.model());
    const std::vector<float> logits = logits_of(ctx, model.model());
    const std::vector<WidthUnit> units = measure_sensitivities(ctx, model, *source, options);
    EXPECT_EQ(held_values(ctx, model.model()), before);
    EXPECT_EQ(logits_of(ctx, model.model()), logits);
    return units;
  }
  std::vector<WidthUnit> measured(const SensitivityOptions& options, int num_threads = 1) const {
    return measured(*make_self_communicator(), {.data = 1}, options, num_threads);
  }
};

void expect_alike(const std::vector<WidthUnit>& units, const std::vector<WidthUnit>& expected) {
  ASSERT_EQ(units.size(), expected.size());
  for (size_t u = 0; u < units.size(); ++u) {
    EXPECT_EQ(units[u].members, expected[u].members);
    EXPECT_EQ(units[u].weights, expected[u].weights);
    for (size_t c = 0; c < units[u].choices.size(); ++c) {
      EXPECT_EQ(units[u].choices[c].bytes, expected[u].choices[c].bytes);
      const double damage = expected[u].choices[c].damage;
      EXPECT_NEAR(units[u].choices[c].damage, damage, 1e-3 * damage + 1e-9) << units[u].name;
    }
  }
}

TEST(Sensitivity, LayoutsMeasureAsOneRank) {
  const SensitivityOptions base{.specs = {{int4}, {int4, 32, false}, {int8}, {fp8}}, .keeps = DType::f32};
  for (const ModelConfig& config : {dense(ModelFamily::gpt2), mixture()}) {
    const TrainedWeights weights(config);
    const Case c{config, weights.path()};
    SensitivityOptions options = base;
    options.samples = samples_of(config, 3);
    const std::vector<WidthUnit> expected = c.measured(options);
    for (const WidthUnit& unit : expected) {
      EXPECT_GT(unit.choices[0].damage, unit.choices[2].damage) << unit.name;
      EXPECT_GT(unit.choices[2].damage, 0) << unit.name;
      EXPECT_GT(unit.choices[0].damage, unit.choices[3].damage) << unit.name;
      EXPECT_GT(unit.choices[3].damage, 0) << unit.name;
      EXPECT_EQ(unit.choices[4].damage, 0);
      EXPECT_EQ(unit.choices[4].bytes, 4 * unit.weights);
    }
    for (const ParallelPlan& plan :
         {ParallelPlan{.data = 1, .tensor = 2}, ParallelPlan{.data = 2, .pipeline = 2},
          ParallelPlan{.data = 2, .expert = config.moe.num_experts > 0 ? 2 : 1}}) {
      SCOPED_TRACE(fmt::format("data {} tensor {} pipeline {}", plan.data, plan.tensor, plan.pipeline));
      run_thread_ranks(plan.world_size(), [&](Communicator& world) {
        expect_alike(c.measured(world, plan, options), expected);
      });
    }
  }
}

TEST(Sensitivity, NoThreadChangesABit) {
  const ModelConfig config = mixture();
  const TrainedWeights weights(config);
  const Case c{config, weights.path()};
  const SensitivityOptions options{.specs = {{int4}}, .samples = samples_of(config, 2)};
  const auto one = c.measured(options), three = c.measured(options, 3);
  ASSERT_EQ(one.size(), three.size());
  for (size_t u = 0; u < one.size(); ++u) EXPECT_EQ(one[u].choices[0].damage, three[u].choices[0].damage);
}

TEST(Sensitivity, UnitsAreWhatKernelsMultiplyByAsOne) {
  const ModelConfig config = mixture();
  const TrainedWeights weights(config, 1);
  const auto units = Case{config, weights.path()}.measured(
      {.specs = {{int4}}, .samples = samples_of(config, 1), .takes = [](const std::string& name) {
         return name.starts_with("layers.1.") && name != "layers.1.attention.key.weight";
       }});
  std::vector<std::string> names;
  std::vector<size_t> sizes;
  for (const WidthUnit& unit : units) {
    names.push_back(unit.name);
    sizes.push_back(unit.members.size());
  }
  EXPECT_EQ(names, (std::vector<std::string>{
                       "layers.1.attention.query.weight", "layers.1.attention.output.weight",
                       "layers.1.ffn.experts.0.gate.weight", "layers.1.ffn.experts.0.down.weight",
                       "layers.1.ffn.shared.gate.weight", "layers.1.ffn.shared.down.weight"}));
  EXPECT_EQ(sizes, (std::vector<size_t>{2, 1, 8, 4, 2, 1}));
}

/// One column of a matrix is large and does nothing, so that the others' steps are coarse.
TEST(Sensitivity, ASensitiveMatrixGetsMoreBits) {
  const ModelConfig config = dense(ModelFamily::llama);
  const TrainedWeights weights(config);
  const TemporaryFolder folder;
  const std::string planted = "layers.1.ffn.down.weight";
  {
    Context ctx;
    const auto self = make_self_communicator();
    TrainingSession session(ctx, *self, {.data = 1}, config, {.weights = weights.path()});
    session.storage().set(ctx, [&](const Parameter& p, const Tensor& t) {
      const bool gives = p.name == "layers.1.ffn.up.weight";
      if (p.name != planted && !gives) return false;
      std::vector<float> values = ops::to_host_f32(ctx, t);
      for (int64_t r = 0; r < p.shape[0]; ++r)
        for (int64_t i = 0; i < p.shape[1]; ++i) {
          float& value = values[static_cast<size_t>(r * p.shape[1] + i)];
          if (gives ? r == 0 : i == 0) value = gives ? 0.0F : 1.0F;
        }
      write(t, values);
      return true;
    });
    session.save(folder.path("model.safetensors"));
  }
  const Case c{config, folder.path("model.safetensors")};
  const SensitivityOptions options{
      .specs = {{int4}, {int8}}, .samples = samples_of(config, 4), .takes = [](const std::string& name) {
        return name.ends_with(".ffn.down.weight");
      }};
  const std::vector<WidthUnit> units = c.measured(options);
  int64_t narrow = 0;
  for (const WidthUnit& unit : units) narrow += unit.choices[0].bytes;
  const auto sensitive = std::ranges::find(units, planted, &WidthUnit::name);
  ASSERT_NE(sensitive, units.end());
  const int64_t rise = sensitive->choices[1].bytes - sensitive->choices[0].bytes;
  const auto widths = widths_of(units, {.bytes = narrow + rise, .damage = {}});
  EXPECT_EQ(widths.at(planted), (ops::PackedSpec{int8}));
  EXPECT_EQ(widths.at("layers.0.ffn.down.weight"), (ops::PackedSpec{int4}));
  EXPECT_EQ(std::ssize(widths), config.num_layers);
}

TEST(Sensitivity, FollowsSquaredErrorsWhereOneIsMeasured) {
  const ModelConfig config = dense(ModelFamily::llama);
  const TrainedWeights weights(config);
  const Case c{config, weights.path()};
  SensitivityOptions options{.specs = {{int8}, {int4, 32}, {int4}}, .samples = samples_of(config, 4)};
  const auto all = c.measured(options);
  options.measures_all = false;
  const auto followed = c.measured(options);
  for (size_t u = 0; u < all.size(); ++u) {
    EXPECT_EQ(followed[u].choices[2].damage, all[u].choices[2].damage) << all[u].name;
    EXPECT_GT(followed[u].choices[0].damage, all[u].choices[0].damage / 5) << all[u].name;
    EXPECT_LT(followed[u].choices[0].damage, all[u].choices[0].damage * 5) << all[u].name;
  }
}

TEST(Sensitivity, RefusesWhatItCannotMeasure) {
  const ModelConfig config = dense(ModelFamily::llama);
  const TrainedWeights weights(config, 1);
  const Case c{config, weights.path()};
  const auto measure = [&](const SensitivityOptions& options) { return [&] { c.measured(options); }; };
  const auto samples = samples_of(config, 2);
  expect_error(ExitCode::usage, {"no samples"}, measure({.specs = {{int4}}, .samples = {}}));
  expect_error(ExitCode::usage, {"sample 1 has 3 tokens, the first 24"},
               measure({.specs = {{int4}}, .samples = {samples[0], {1, 2, 3}}}));
  expect_error(ExitCode::usage, {"samples of 33 tokens", "32"},
               measure({.specs = {{int4}}, .samples = {std::vector<int32_t>(33)}}));
  expect_error(ExitCode::bad_input, {"sample 1 has token 100000"},
               measure({.specs = {{int4}}, .samples = {{1, 2}, {1, 100000}}}));
  expect_error(
      ExitCode::usage, {"no matrix"},
      measure({.specs = {{int4}}, .samples = samples, .takes = [](const std::string&) { return false; }}));
  expect_error(ExitCode::usage, {"no widths"}, measure({.specs = {}, .samples = samples}));
}

}  // namespace
}  // namespace trireme::test
