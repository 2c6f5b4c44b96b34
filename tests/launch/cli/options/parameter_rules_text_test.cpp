#include "launch/cli/options/parameter_rules_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "launch/config/complete_config.h"
#include "launch/config/optimizer_choice.h"
#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string fault_of(const char* text) {
  std::vector<ParameterRule> rules;
  return parse_parameter_rules(text, rules);
}

TEST(ParameterRulesText, IsReadAndWritten) {
  std::vector<ParameterRule> rules;
  ASSERT_EQ(
      parse_parameter_rules(
          " embedding.*: frozen=on ;@norm: decay=on lr=0.25; *.up.weight:optimizer=muon frozen=off;", rules),
      "");
  EXPECT_THAT(
      rules, ElementsAre(
                 ParameterRule{.pattern = "embedding.*", .frozen = true},
                 ParameterRule{.role = ParameterRole::norm, .decays = true, .lr_factor = 0.25},
                 ParameterRule{.pattern = "*.up.weight", .optimizer = OptimizerKind::muon, .frozen = false}));
  const std::string text = text_of(rules);
  EXPECT_EQ(text, "embedding.*: frozen=on; @norm: lr=0.25 decay=on; *.up.weight: optimizer=muon frozen=off");
  std::vector<ParameterRule> again;
  EXPECT_EQ(parse_parameter_rules(text, again), "");
  EXPECT_EQ(again, rules);
  EXPECT_EQ(parse_parameter_rules(" ; ", again), "");
  EXPECT_THAT(again, IsEmpty());
}

TEST(ParameterRulesText, WhatIsWrongIsNamed) {
  EXPECT_THAT(fault_of("head.weight"), HasSubstr("'head.weight' is no PATTERN: KEY=VALUE"));
  EXPECT_THAT(fault_of("head.weight:"), HasSubstr("is no PATTERN"));
  EXPECT_THAT(fault_of(": frozen=on"), HasSubstr("is no PATTERN"));
  EXPECT_THAT(fault_of("@layer: frozen=on"), HasSubstr("'@layer' is none of @matrix"));
  EXPECT_THAT(fault_of("*: frozen"), HasSubstr("'frozen' is none of"));
  EXPECT_THAT(fault_of("*: frozen=yes"), HasSubstr("'frozen=yes' is none of"));
  EXPECT_THAT(fault_of("*: lr=-1"), HasSubstr("'lr=-1' is none of"));
  EXPECT_THAT(fault_of("*: lr=nan"), HasSubstr("'lr=nan' is none of"));
  EXPECT_THAT(fault_of("*: optimizer=sgd"), HasSubstr("'optimizer=sgd' is none of"));
}

std::vector<std::string> errors_of_rules(const char* text, OptimizerKind kind = OptimizerKind::adamw) {
  RunConfig config;
  config.model.vocab_size = 100;
  config.optimizer.kind = kind;
  EXPECT_EQ(parse_parameter_rules(text, config.optimizer.rules), "");
  return optimizer_errors(config);
}

TEST(OptimizerChoice, RulesHaveToFitTheModel) {
  EXPECT_THAT(errors_of_rules("layers.11.*: frozen=on; @matrix: optimizer=muon"), IsEmpty());
  EXPECT_THAT(errors_of_rules("layers.12.*: frozen=on"),
              ElementsAre(HasSubstr("layers.12.* matches no parameter")));
  EXPECT_THAT(errors_of_rules("@router: frozen=on"), ElementsAre(HasSubstr("@router matches no parameter")));
  EXPECT_THAT(errors_of_rules("*: optimizer=muon"), ElementsAre(HasSubstr("which is not a matrix")));
  EXPECT_THAT(errors_of_rules("*: frozen=on"), ElementsAre(HasSubstr("there is nothing to train")));
}

std::string refusal_of(std::vector<std::string> args) {
  ArgumentRules rules;
  rules.command = "train";
  rules.options = all_options();
  rules.needs_data = false;
  args.insert(args.end(), {"--model.preset", "gpt2-3m"});
  try {
    parse_run_arguments(rules, args, 1);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(OptimizerChoice, OptionsOfMuonNeedMuon) {
  for (const char* option : {"muon-lr", "muon-momentum", "muon-ns-steps"}) {
    const std::string key = std::string("--optimizer.") + option;
    const std::string value = std::string(option) == "muon-ns-steps" ? "4" : "0.5";
    EXPECT_THAT(refusal_of({key, value}), HasSubstr("it belongs to --optimizer.kind muon")) << option;
    EXPECT_EQ(refusal_of({key, value, "--optimizer.kind", "muon"}), "") << option;
    EXPECT_EQ(refusal_of({key, value, "--optimizer.rules", "@matrix: optimizer=muon"}), "") << option;
  }
  EXPECT_THAT(refusal_of({"--optimizer.lr", "0", "--optimizer.kind", "muon", "--optimizer.muon-lr", "0.1"}),
              HasSubstr("optimizer.muon-lr 0.1 follows the schedule of optimizer.lr, which is 0"));
}

}  // namespace
}  // namespace trireme::launch
