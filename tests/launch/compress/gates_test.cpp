#include "launch/compress/gates.h"

#include <cmath>
#include <limits>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/compress/cut_amounts.h"
#include "launch/compress/cut_outcome.h"
#include "launch/compress/prediction.h"
#include "launch/compress/work_directory.h"
#include "launch/compress/work_line.h"
#include "models/families/family.h"
#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

using testing::HasSubstr;

StepFigures figures(double perplexity, int64_t bytes = 250) {
  StepFigures f;
  f.name = "int4";
  f.what = "gptq";
  f.bytes = bytes;
  f.fp32_bytes = 1000;
  f.loss = {std::log(perplexity), 0.01};
  f.divergence = {0.05, 0.001};
  f.divergence_99 = 0.4;
  f.same_top = {0.9, 0.002};
  f.tokens_per_second = 100;
  f.seconds = 2;
  return f;
}

TEST(Gates, EachLimitStopsWhatIsBeyondIt) {
  const StepFigures base = figures(10, 1000), step = figures(10.3);
  EXPECT_FALSE(exceeded({}, base, step));
  EXPECT_FALSE(
      exceeded({.perplexity = 0.031, .divergence = 0.05, .same_top = 0.9, .size = 0.25}, base, step));
  EXPECT_THAT(
      exceeded({.perplexity = 0.02}, base, step).value(),
      HasSubstr("--gate.perplexity +2%: the perplexity is 10.3000, +3.00% beside the base's 10.0000"));
  EXPECT_THAT(exceeded({.divergence = 0.04}, base, step).value(), HasSubstr("--gate.kl 0.04"));
  EXPECT_THAT(exceeded({.same_top = 0.95}, base, step).value(), HasSubstr("90.00% of the tokens"));
  EXPECT_THAT(exceeded({.size = 1.0 / 6}, base, step).value(), HasSubstr("250 bytes are 0.25 of the 1,000"));
}

TEST(Gates, NothingThatIsNoNumberPasses) {
  StepFigures step = figures(10);
  step.loss.mean = step.divergence.mean = step.same_top.mean = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(exceeded({.perplexity = 10}, figures(10), step));
  EXPECT_TRUE(exceeded({.divergence = 10}, figures(10), step));
  EXPECT_TRUE(exceeded({.same_top = 0}, figures(10), step));
}

TEST(Gates, ThoseOfTheCommandLineGoOver) {
  const Gate both = with({.perplexity = 0.1, .size = 0.5}, {.perplexity = 0.2});
  EXPECT_DOUBLE_EQ(both.perplexity.value(), 0.2);
  EXPECT_DOUBLE_EQ(both.size.value(), 0.5);
  EXPECT_FALSE(both.divergence);
}

KeptLayer kept_layer(int64_t layer, std::vector<int64_t> heads, std::vector<std::vector<int64_t>> neurons,
                     std::vector<int64_t> experts) {
  KeptLayer kept;
  kept.layer = layer;
  kept.kv_heads = {0};
  kept.heads = std::move(heads);
  kept.neurons = std::move(neurons);
  kept.experts = std::move(experts);
  return kept;
}

TEST(WorkState, IsReadBackAsItWasWritten) {
  WorkState state;
  state.identity = {{"model", "runs/a"}, {"recipe", "int4"}};
  state.base = figures(9);
  MatrixOutcome outcome{.name = "layers.0.ffn.up.weight", .what = "int4", .tokens = 77, .report = {}};
  outcome.report = {.error = 0.02, .damping = 0.1, .dead = 3, .note = "damping grew"};
  StepRecord step{.figures = figures(10), .outcomes = {outcome}};
  step.figures.zeros = 0.5;
  step.zeros = {{"layers.0.ffn.up.weight", 0.5}};
  step.training = {{.step = 0, .loss = std::numeric_limits<double>::quiet_NaN(), .valid_loss = 5},
                   {.step = 1, .loss = 4, .valid_loss = std::numeric_limits<double>::quiet_NaN()}};
  step.cut = CutOutcome{.cut = {.layers = 1, .neurons = 2},
                        .kept = {kept_layer(1, {0, 1}, {{3, 5}}, {})},
                        .lost = {{.heads = 0, .neurons = 0.25, .experts = 0}},
                        .layers = {0.1, 0.3}};
  state.steps.push_back(step);
  const nlohmann::json json = nlohmann::json::parse(json_of(state).dump());
  const WorkState back = state_of(json, "state.json");
  EXPECT_EQ(json_of(back).dump(), json_of(state).dump());
  EXPECT_EQ(back.steps[0].outcomes[0].report.note, "damping grew");
  EXPECT_EQ(back.steps[0].cut->kept[0].neurons, (std::vector<std::vector<int64_t>>{{3, 5}}));
  EXPECT_EQ(back.steps[0].cut->cut, (StructuredCut{.layers = 1, .neurons = 2}));
  EXPECT_TRUE(std::isnan(back.steps[0].training[0].loss));
  EXPECT_DOUBLE_EQ(back.steps[0].training[1].loss, 4);
  EXPECT_THROW(state_of(nlohmann::json::parse("{\"identity\": 3}"), "state.json"), UserError);
}

TEST(CutOutcome, SaysWhatPartOfTheImportanceWent) {
  UnitImportance importance(2);
  importance[0].layer = 0.5;
  importance[0].heads = {3, 1};
  importance[0].neurons = {{4, 0, 2, 2}};
  importance[1].layer = 0.2;
  importance[1].neurons = {{1, 1}, {0, 2}, {5, 5}};
  importance[1].experts = {1, 2, 1};
  const CutOutcome outcome = cut_outcome(
      {.neurons = 2}, {kept_layer(0, {0}, {{0, 2}}, {}), kept_layer(1, {}, {{0}, {1}}, {0, 1})}, importance);
  EXPECT_DOUBLE_EQ(outcome.lost[0].heads, 0.25);
  EXPECT_DOUBLE_EQ(outcome.lost[0].neurons, 0.25);
  EXPECT_DOUBLE_EQ(outcome.lost[1].experts, 0.25);
  EXPECT_DOUBLE_EQ(outcome.lost[1].neurons, 0.25);  // 1 of 2 and 0 of 2, of the experts that stay
  EXPECT_EQ(outcome.layers, (std::vector<double>{0.5, 0.2}));
  const std::string text = json_of(outcome).dump();
  EXPECT_EQ(json_of(cut_outcome_of(nlohmann::json::parse(text), "u")).dump(), text);
  EXPECT_THROW(cut_outcome_of(nlohmann::json::parse("{\"layers_left\": -1}"), "u"), UserError);
}

TEST(WorkState, DifferencesNameBothValues) {
  EXPECT_TRUE(differences({{"recipe", "int4"}}, {{"recipe", "int4"}}).empty());
  EXPECT_THAT(differences({{"recipe", "int4"}, {"model", "a"}}, {{"recipe", "int8"}}),
              testing::ElementsAre("model was a and is nothing", "recipe was int4 and is int8"));
}

TEST(WorkLine, SaysHowFarAndHowLong) {
  EXPECT_EQ(work_text("int4", 3, 12, "layers.3.ffn", 40), "int4 | 3 of 12 | layers.3.ffn | 25 % | 40s left");
  EXPECT_EQ(work_text("int4", 0, 12, "", -1), "int4 | 0 of 12 |  | 0 %");
}

ModelConfig small_model() {
  ModelConfig config;
  config.num_layers = 2;
  config.hidden_size = 64;
  config.num_heads = config.num_kv_heads = 4;
  config.ffn_size = 128;
  config.vocab_size = 256;
  config.max_positions = 64;
  return config;
}

TEST(Prediction, CountsEachInputOnce) {
  // Of a layer: attention's input, its output's, the feed-forward part's and its output's.
  const double of_layer = 2 * (64.0 * 64 + 64 * 64 + 64 * 64 + 128 * 128);
  EXPECT_DOUBLE_EQ(hessian_flops_per_token(small_model()), 2 * of_layer);
}

TEST(CutAmounts, PartsAreRoundedToWhatGroupsAndLayersDivide) {
  ModelConfig model = small_model();  // 2 layers, 4 heads, 128 neurons
  const auto numbers = [&](const CutStep& step) { return numbers_of(step, model); };
  EXPECT_EQ(numbers({.neurons = {.part = 0.3}}).neurons, 96);  // 89.6, in multiples of 16
  EXPECT_EQ(numbers({.neurons = {.stay = 77}}).neurons, 77);
  EXPECT_EQ(numbers({.heads = {.part = 0.25}}).heads, 3);
  EXPECT_EQ(numbers({.layers = {.part = 0.9}}).layers, 2);
  model.ffn_size = 768;
  EXPECT_EQ(numbers({.neurons = {.part = 0.3}}).neurons, 512);  // 537.6, in multiples of 64
  EXPECT_EQ(text_of(numbers({.neurons = {.part = 0.3}}), model), "512 of 768 neurons stay");
  EXPECT_EQ(planned_config(model, numbers({.neurons = {.part = 0.3}})).ffn_size, 512);
  model.num_heads = 8;  // two of each key-value head
  EXPECT_EQ(numbers({.kv_groups = {.part = 0.5}, .heads = {.part = 0.5}}).heads, 2);
  EXPECT_EQ(numbers({.heads = {.part = 0.5}}).heads, 4);
  EXPECT_THROW(numbers({.neurons = {.part = 0.01}}), UserError);
  EXPECT_THROW(numbers({.experts = {.part = 0.5}}), UserError);
  EXPECT_THROW(numbers({.layers = {.stay = 3}}), UserError);
}

TEST(Prediction, CountsTrainingWithItsTeacher) {
  WorkLoad load{.calibration_tokens = 1000,
                .seq_len = 64,
                .forward_seconds_per_token = 1e-3,
                .decode_seconds_per_token = 0};
  const ModelConfig model = small_model();
  const Recipe recipe =
      parse_recipe("[step a]\nmethod = magnitude\n[step b]\nmethod = distill\nsteps = 4\n", "a");
  const double without = predict(model, recipe, load, 1000).seconds;
  load.trainings[1] = {.tokens = 500, .has_teacher = false, .bytes = 1 << 20};
  EXPECT_NEAR(predict(model, recipe, load, 1000).seconds, without + 3 * 0.5, 1e-9);
  EXPECT_EQ(predict(model, recipe, load, 1000).bytes, 1 << 20);
  load.trainings[1].has_teacher = true;
  EXPECT_NEAR(predict(model, recipe, load, 1000).seconds, without + 4 * 0.5, 1e-9);
}

TEST(Prediction, GrowsWithWhatThereIsToDo) {
  WorkLoad load{.calibration_tokens = 1000,
                .seq_len = 64,
                .evaluation_tokens = 500,
                .decode_tokens = 10,
                .forward_seconds_per_token = 1e-3,
                .decode_seconds_per_token = 1e-2};
  const ModelConfig model = small_model();
  const Prediction gptq = predict(model, parse_recipe("[step a]\nmethod = gptq\n", "a"), load, 1 << 20);
  const Prediction nearest = predict(model, parse_recipe("[step a]\nmethod = nearest\n", "a"), load, 1 << 20);
  // The base and the step are measured: two passes and a text of ten tokens, three times.
  EXPECT_NEAR(nearest.seconds, 2 * (2 * 500 * 1e-3 + 3 * 10 * 1e-2), 1e-9);
  EXPECT_GT(gptq.seconds, nearest.seconds + 2 * 1000 * 1e-3);
  EXPECT_GT(gptq.bytes, nearest.bytes);
  load.calibration_tokens *= 2;
  EXPECT_GT(predict(model, parse_recipe("[step a]\nmethod = gptq\n", "a"), load, 1 << 20).seconds,
            gptq.seconds);
}

}  // namespace
}  // namespace trireme::launch
