// Steps that share weights: keys, how many sets they leave, and what they keep of an attempt.
#include "launch/compress/share_outcome.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/compress/work_directory.h"
#include "models/config/weight_sharing.h"
#include "models/cost/model_size.h"
#include "runtime/base/error.h"
#include "tests/support/expect_error.h"

namespace trireme::launch {
namespace {

using testing::HasSubstr;

std::string refusal_of_share(const std::string& text) {
  try {
    parse_recipe(text, "r.ini");
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_input);
    return error.what();
  }
  return "taken";
}

TEST(ShareStep, HasItsKeys) {
  const Recipe recipe = parse_recipe(
      "[step a]\nmethod = share\nlayers = 50%\n"
      "[step back]\nmethod = distill\nsteps = 9\n"
      "[step b]\nmethod = share\nsize = 1/2\ngrouping = likeness\nvalues = mean\n",
      "r.ini");
  ASSERT_EQ(recipe.steps.size(), 3u);
  const ShareStep &first = recipe.steps[0].share, &second = recipe.steps[2].share;
  EXPECT_EQ(recipe.steps[0].kind, StepKind::share);
  EXPECT_DOUBLE_EQ(first.layers.part, 0.5);
  EXPECT_EQ(first.grouping, FoldGrouping::adjacent);
  EXPECT_EQ(first.values, FoldValues::measured);
  EXPECT_DOUBLE_EQ(second.size.value(), 0.5);
  EXPECT_EQ(second.grouping, FoldGrouping::likeness);
  EXPECT_EQ(second.values, FoldValues::mean);
  EXPECT_NE(canonical(recipe.steps[0]), canonical(recipe.steps[2]));
  for (const auto& [text, words] : std::initializer_list<std::pair<const char*, const char*>>{
           {"[step a]\nmethod = share\n", "needs one of layers"},
           {"[step a]\nmethod = share\nlayers = 3\nsize = 1/2\n", "needs one of layers"},
           {"[step a]\nmethod = share\nsize = 2\n", "a part above 0 and below 1"},
           {"[step a]\nmethod = share\nlayers = 2\nneurons = 30%\n",
            "neurons has no effect with method share"},
           {"[step a]\nmethod = cut\nneurons = 30%\ngrouping = adjacent\n",
            "grouping has no effect with method cut"},
           {"[step a]\nmethod = gptq\n[step b]\nmethod = share\nlayers = 2\n", "share first, then prune"}})
    EXPECT_THAT(refusal_of_share(text), HasSubstr(words)) << text;
}

TEST(ShareStep, LeavesAsManySetsAsWereAsked) {
  ModelConfig config;
  config.num_layers = 6;
  config.vocab_size = 512;
  config.hidden_size = 64;
  config.num_heads = config.num_kv_heads = 4;
  config.ffn_size = 256;
  EXPECT_EQ(sets_left({.layers = {.stay = 2}}, config), 2);
  EXPECT_EQ(sets_left({.layers = {.part = 0.5}}, config), 3);
  EXPECT_EQ(num_distinct_layers(planned_config(config, {.layers = {.part = 0.3}})), 4);
  const double whole = static_cast<double>(size_of(config).parameters);
  const ShareStep half{.size = 0.5};
  const int64_t count = sets_left(half, config);
  EXPECT_LE(static_cast<double>(size_of(planned_config(config, half)).parameters), 0.5 * whole);
  EXPECT_GT(static_cast<double>(size_of(planned_config(config, {.layers = {.stay = count + 1}})).parameters),
            0.5 * whole);
  test::expect_error(ExitCode::usage, {"none would go"},
                     [&] { sets_left({.layers = {.part = 0.05}}, config); });
  test::expect_error(ExitCode::usage, {"size 0.1", "of the parameters at least"},
                     [&] { sets_left({.size = 0.1}, config); });
}

TEST(ShareOutcome, IsReadBackAsItWasWritten) {
  const double none = std::numeric_limits<double>::quiet_NaN();
  ShareOutcome outcome{.sets = {{{0, 2}, kMeanWeights}, {{1, 3}, 3}},
                       .trials = {{{0, 5.5}, {2, 5.25}, {kMeanWeights, 4}}},
                       .likeness = {{{0, none}, {none, 0}}, {{1, 0.5}, {0.25, 1}}}};
  EXPECT_FALSE(outcome.is_decided());
  const std::string text = json_of(outcome).dump();
  const ShareOutcome back = share_outcome_of(nlohmann::json::parse(text), "s");
  EXPECT_EQ(json_of(back).dump(), text);
  EXPECT_EQ(back.sets[0].values, kMeanWeights);
  EXPECT_EQ(back.sets[1].values, 3);
  EXPECT_EQ(back.trials[0][2].values, kMeanWeights);
  EXPECT_TRUE(std::isnan(back.likeness.change[0][1]));
  WorkState state;
  state.steps.push_back({.figures = {}, .shared = outcome});
  EXPECT_EQ(json_of(state_of(nlohmann::json::parse(json_of(state).dump()), "s")).dump(),
            json_of(state).dump());
  for (const char* wrong : {"{}", R"({"sets": 3})", R"({"sets": [{"layers": [-1], "weights_of": 0}]})",
                            R"({"sets": [{"layers": [], "weights_of": 0}]})",
                            R"({"sets": [{"layers": [0], "weights_of": "all"}]})",
                            R"({"sets": [], "change_of_stream": [3], "cosine_of_outputs": []})"})
    EXPECT_THROW(share_outcome_of(nlohmann::json::parse(wrong), "s"), UserError) << wrong;
}

}  // namespace
}  // namespace trireme::launch
