// Parameters that rules freeze: nothing is computed, kept, summed or counted for them, and the others train
// as if they were constants.
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/drawn_layout.h"
#include "tests/support/memory_run.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

/// Freezes embeddings, biases and a whole block.
std::vector<ParameterRule> whole_layers() {
  std::vector<ParameterRule> rules(3);
  rules[0].role = ParameterRole::embedding;
  rules[1].role = ParameterRole::vector;
  rules[2].pattern = "layers.1.*";
  for (ParameterRule& rule : rules) rule.frozen = true;
  return rules;
}

/// Of linear layers with a bias, of norms and of fused ops one half each; all matrices that train are Muon's.
std::vector<ParameterRule> halves_of_layers() {
  std::vector<ParameterRule> rules = muon_rules();
  for (const char* pattern : {"layers.0.*.weight", "*norm.gain", "layers.2.*down*"})
    rules.push_back({.pattern = pattern, .frozen = true});
  return rules;
}

bool is_frozen(const LayoutRun& run, const std::string& name) {
  const bool is_vector = name.ends_with(".gain") || name.ends_with(".bias");
  return settings_of(name, is_vector ? 1 : 2, name.find(".experts.") != name.npos, run.rules).frozen;
}

LayoutRun with(LayoutRun run, std::vector<ParameterRule> rules) {
  run.rules = std::move(rules);
  run.steps = 3;
  run.lr = 1e-2;
  return run;
}

LayoutResult one_rank(LayoutRun run) {
  run.plan.zero_stage = 0;
  run.recomputation = {};
  return run_on_one_rank(run);
}

void expect_frozen(const LayoutRun& run) {
  SCOPED_TRACE(text_of(run));
  const LayoutResult one = one_rank(run);
  expect_follows(run_on_threads(run.plan.world_size(), run), one);

  LayoutRun still = run;  // the first step's gradients are those of a run in which all train
  still.rules = {};
  still.steps = 1;
  still.lr = 0;
  const LayoutResult all = one_rank(still);
  bool has_frozen = false, has_moved = false;
  for (const auto& [name, weight] : one.weights) {
    const std::vector<float>& gradient = one.gradients.at(name);
    if (is_frozen(run, name)) {
      has_frozen = true;
      EXPECT_EQ(weight, all.weights.at(name)) << name;
      EXPECT_EQ(gradient, std::vector<float>(gradient.size(), 0.0f)) << name;
    } else {
      has_moved = has_moved || weight != all.weights.at(name);
      EXPECT_EQ(gradient, all.gradients.at(name)) << name;
    }
  }
  EXPECT_TRUE(has_frozen && has_moved);
  EXPECT_LT(one.norms[0], all.norms[0]);
}

class FrozenParameters : public testing::TestWithParam<uint64_t> {};

TEST_P(FrozenParameters, StayInDrawnLayouts) {
  const LayoutRun run = draw_layout(GetParam());
  expect_frozen(with(run, GetParam() % 2 == 0 ? whole_layers() : halves_of_layers()));
}

const uint64_t kFirst = test_seed() * 1000 + 700;
INSTANTIATE_TEST_SUITE_P(Drawn, FrozenParameters, testing::Range(kFirst, kFirst + (whole_tier() ? 24 : 2)),
                         [](const auto& p) { return std::to_string(p.param); });

// The ends of a pipeline wait for each other's gradient of tied weights, if there is one.
TEST(FrozenTiedWeights, AreSummedByNobody) {
  LayoutRun run = with({}, whole_layers());
  run.model = tiny_model(ModelFamily::gpt2);
  run.plan.pipeline = 2;
  run.plan.data = 2;
  run.plan.zero_stage = 2;
  expect_frozen(run);
}

// All layers of both stages have the matrices of one, of which some are frozen and others Muon's.
TEST(FrozenSharedLayers, AreSummedByNobody) {
  std::vector<ParameterRule> rules = muon_rules();
  for (const char* pattern : {"layers.0.attention.*.weight", "layers.0.*norm.gain"})
    rules.push_back({.pattern = pattern, .frozen = true});
  LayoutRun run = with({}, rules);
  run.model = tiny_model(ModelFamily::gpt2);
  run.model.share = 1;
  run.plan.pipeline = 2;
  run.plan.data = 2;
  run.plan.zero_stage = 2;
  expect_frozen(run);
}

// The ranks of a tensor axis sum what each has seen of biases and norms, and nothing of matrices.
TEST(FrozenMatrices, LeaveBiasesTheirGradient) {
  LayoutRun run = with({}, halves_of_layers());
  run.model = tiny_model(ModelFamily::gpt2);
  run.plan.data = 1;
  run.plan.tensor = 2;
  run.plan.sequence = true;
  expect_frozen(run);
}

// The last block alone trains.
TEST(FrozenMemory, HoldsNothingForGradients) {
  for (const int stage : sample(std::vector{2, 0}, 1)) {
    LayoutRun run = with({}, {{.pattern = "*", .frozen = true}, {.pattern = "layers.3.*", .frozen = false}});
    run.model = tiny_model(ModelFamily::llama);
    run.model.num_layers = 4;
    run.model.hidden_size = 128;
    run.model.ffn_size = 256;
    run.seq_len = 4;
    run.plan.data = 2;
    run.plan.zero_stage = stage;
    expect_memory_as_predicted(run);
    const MemoryEstimate some = compare_memory(run).measured;
    run.rules = {};
    const MemoryEstimate all = compare_memory(run).measured;
    for (const MemoryCategory category : {MemoryCategory::gradients, MemoryCategory::optimizer})
      EXPECT_LT(static_cast<double>(some[category]), 0.3 * static_cast<double>(all[category])) << stage;
  }
}

// A copy is known by the name of the layer that uses it first, on another stage.
TEST(FrozenMemory, OfCopiesIsThatOfTheFirst) {
  LayoutRun run = with({}, {{.pattern = "layers.0.*", .frozen = true}});
  run.model = tiny_model(ModelFamily::llama);
  run.model.num_layers = 4;
  run.model.share = 1;
  run.model.hidden_size = 128;
  run.model.ffn_size = 256;
  run.seq_len = 4;
  run.plan.data = 1;
  run.plan.pipeline = 2;
  expect_memory_as_predicted(run);
}

}  // namespace
}  // namespace trireme::test
