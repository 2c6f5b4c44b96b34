#include "parallel/plan/parameter_rules.h"

#include <gtest/gtest.h>

namespace trireme {
namespace {

TEST(ParameterRules, KindsFollowFromNames) {
  const auto kind = [](const char* name, int dims, bool expert = false) {
    return parameter_role(name, dims, expert);
  };
  EXPECT_EQ(kind("embedding.tokens.weight", 2), ParameterRole::embedding);
  EXPECT_EQ(kind("embedding.positions.weight", 2), ParameterRole::embedding);
  EXPECT_EQ(kind("head.weight", 2), ParameterRole::head);
  EXPECT_EQ(kind("layers.0.ffn.router.weight", 2), ParameterRole::router);
  EXPECT_EQ(kind("layers.0.ffn.experts.3.up.weight", 2, true), ParameterRole::expert);
  EXPECT_EQ(kind("layers.0.ffn.shared.up.weight", 2), ParameterRole::matrix);
  EXPECT_EQ(kind("layers.0.attention.query.weight", 2), ParameterRole::matrix);
  EXPECT_EQ(kind("layers.0.attention.query.bias", 1), ParameterRole::vector);
  EXPECT_EQ(kind("layers.0.attention_norm.gain", 1), ParameterRole::norm);
  EXPECT_EQ(kind("final_norm.bias", 1), ParameterRole::norm);
}

TEST(ParameterRules, StarsStandForAnyCharacters) {
  const auto matches = [](std::string pattern, const char* name) {
    ParameterRule rule;
    rule.pattern = std::move(pattern);
    return rule.matches(name, ParameterRole::matrix);
  };
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("layers.*.up.*", "layers.11.ffn.up.weight"));
  EXPECT_TRUE(matches("*.weight", "a.weight.weight"));
  EXPECT_TRUE(matches("a*b*c", "aXbbYc"));
  EXPECT_FALSE(matches("layers.1.*", "layers.11.ffn.up.weight"));
  EXPECT_FALSE(matches("*.bias", "a.bias.x"));
  EXPECT_FALSE(matches("head", "head.weight"));
  EXPECT_FALSE(matches("", "a"));
}

TEST(ParameterRules, LaterRulesWinWhereTheySayAnything) {
  std::vector<ParameterRule> rules = muon_rules();
  rules.push_back({.pattern = "layers.*", .lr_factor = 0.5});
  rules.push_back({.pattern = "layers.3.*", .decays = false, .frozen = true});
  const auto of = [&](const char* name, int dims) { return settings_of(name, dims, false, rules); };
  EXPECT_EQ(of("layers.2.ffn.up.weight", 2),
            (ParameterSettings{.optimizer = OptimizerKind::muon, .decays = true, .lr_factor = 0.5}));
  EXPECT_EQ(of("layers.2.ffn.router.weight", 2), (ParameterSettings{.lr_factor = 0.5}));
  EXPECT_EQ(of("layers.2.ffn.up.bias", 1), (ParameterSettings{.decays = false, .lr_factor = 0.5}));
  EXPECT_EQ(of("layers.3.ffn.up.weight", 2),
            (ParameterSettings{
                .optimizer = OptimizerKind::muon, .decays = false, .lr_factor = 0.5, .frozen = true}));
  EXPECT_EQ(of("head.weight", 2), ParameterSettings{});
  EXPECT_EQ(settings_of("layers.0.ffn.experts.3.up.weight", 2, true, muon_rules()).optimizer,
            OptimizerKind::muon);
}

TEST(ParameterRules, StateIsWhatTheOptimizerKeeps) {
  EXPECT_EQ(optimizer_state_floats({}), 2);
  EXPECT_EQ(optimizer_state_floats({.optimizer = OptimizerKind::muon}), 1);
  EXPECT_EQ(optimizer_state_floats({.frozen = true}), 0);
}

}  // namespace
}  // namespace trireme
