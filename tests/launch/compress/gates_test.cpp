#include "launch/compress/gates.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(WorkState, IsReadBackAsItWasWritten) {
  WorkState state;
  state.identity = {{"model", "runs/a"}, {"recipe", "int4"}};
  state.base = figures(9);
  MatrixOutcome outcome{.name = "layers.0.ffn.up.weight", .what = "int4", .tokens = 77, .report = {}};
  outcome.report = {.error = 0.02, .damping = 0.1, .dead = 3, .note = "damping grew"};
  state.steps.push_back({figures(10), {outcome}});
  const nlohmann::json json = nlohmann::json::parse(json_of(state).dump());
  const WorkState back = state_of(json, "state.json");
  EXPECT_EQ(json_of(back).dump(), json_of(state).dump());
  EXPECT_EQ(back.steps[0].outcomes[0].report.note, "damping grew");
  EXPECT_THROW(state_of(nlohmann::json::parse("{\"identity\": 3}"), "state.json"), UserError);
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
