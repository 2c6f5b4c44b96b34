#include "launch/generate/exit_options.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace trireme::launch {
namespace {

using test::expect_error;

ModelConfig model_with(std::vector<int64_t> exits) {
  ModelConfig model;
  model.num_layers = 6;
  model.exits = std::move(exits);
  return model;
}

TEST(ExitOptions, ReadBlocksAndProbabilities) {
  ExitArguments a;
  std::vector<std::string> errors;
  const auto options = exit_options(a, true);
  const std::vector<std::string> args{"--exit.layer", "2,4", "--exit.confidence", "0.75"};
  EXPECT_TRUE(parse_plain_arguments("generate", options, args, errors).empty());
  EXPECT_TRUE(errors.empty());
  EXPECT_EQ(a.layers, (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(a.confidence, 0.75);
  for (const char* wrong : {"0", "4,2", "2,,4", "", "2,", "x", "1.5", "2,2"}) {
    errors.clear();
    const std::vector<std::string> given{std::string("--exit.layer=") + wrong};
    (void)parse_plain_arguments("generate", options, given, errors);
    EXPECT_EQ(errors.size(), 1U) << wrong;
  }
  for (const char* wrong : {"0", "-1", "1.01", "nan", "x"}) {
    errors.clear();
    const std::vector<std::string> given{std::string("--exit.confidence=") + wrong};
    (void)parse_plain_arguments("generate", options, given, errors);
    EXPECT_EQ(errors.size(), 1U) << wrong;
  }
}

TEST(ExitOptions, ExitsAreTheModelsOrNamed) {
  EXPECT_EQ(exit_rule_of(model_with({2, 4}), {.layers = {}, .confidence = 0.9}).exits,
            (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(exit_rule_of(model_with({2, 4}), {.layers = {4}, .confidence = 0.9}).exits,
            (std::vector<int64_t>{4}));
  EXPECT_EQ(exit_rule_of(model_with({}), {.layers = {1, 5}, .confidence = 0.9}).exits,
            (std::vector<int64_t>{1, 5}));
  EXPECT_EQ(exit_rule_of(model_with({2}), {}).confidence, 0);
  EXPECT_EQ(draft_blocks_of(model_with({2, 4}), {}), 2);
  EXPECT_EQ(draft_blocks_of(model_with({2, 4}), {.layers = {4}}), 4);
  expect_error(ExitCode::usage, {"--exit.layer 3", "exits after 2, 4 of its 6"}, [] {
    exit_rule_of(model_with({2, 4}), {.layers = {2, 3}, .confidence = 0.9});
  });
  expect_error(ExitCode::usage, {"--exit.layer 6", "allowed: 1 to 5"},
               [] { draft_blocks_of(model_with({}), {.layers = {6}}); });
  expect_error(ExitCode::usage, {"no exits", "--exit.layer N", "1 to 5"},
               [] { draft_blocks_of(model_with({}), {}); });
}

TEST(ExitOptions, SayWhatDoesNotGoTogetherAndWhatToExpect) {
  const ExitArguments rule{.layers = {2}, .confidence = 0.9}, layer{.layers = {2}}, two{.layers = {2, 4}};
  EXPECT_TRUE(errors_of(rule, false, 1).empty());
  EXPECT_TRUE(errors_of(layer, true, 1).empty());
  EXPECT_TRUE(errors_of(ExitArguments{}, false, 4).empty());
  EXPECT_EQ(errors_of(layer, false, 1).size(), 1U);
  EXPECT_EQ(errors_of(rule, true, 1).size(), 1U);
  EXPECT_EQ(errors_of(two, true, 1).size(), 1U);
  EXPECT_EQ(errors_of(rule, false, 2).size(), 1U);
  EXPECT_EQ(errors_of(layer, true, 2).size(), 1U);
  EXPECT_TRUE(exit_warnings(model_with({2}), layer, true).empty());
  EXPECT_EQ(exit_warnings(model_with({2}), rule, false).size(), 1U);  // other texts
  EXPECT_EQ(exit_warnings(model_with({}), rule, false).size(), 2U);   // and not trained for it
  EXPECT_EQ(exit_warnings(model_with({}), layer, true).size(), 1U);
}

}  // namespace
}  // namespace trireme::launch
