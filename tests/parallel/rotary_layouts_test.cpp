// Layouts of models with several kinds of positions follow one rank: scaled angles, a part of each head,
// blocks without positions, and windows with a theta of their own, each in other blocks, and so in other
// pipeline stages.
#include <numeric>

#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/spec/model_spec.h"
#include "runtime/base/philox.h"
#include "tests/support/drawn_layout.h"
#include "tests/support/memory_run.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

void draw_positions(uint64_t seed, LayoutRun& run) {
  auto draw = [&, n = uint64_t{0}](std::initializer_list<int64_t> values) mutable {
    return values.begin()[philox4x32(seed, n++, 29)[0] % values.size()];
  };
  ModelConfig& c = run.model;
  c.positions = PositionKind::rotary;
  c.window = draw({3, 5, 11});
  c.window_pattern = draw({0, 2, 3});
  c.window_from = draw({0, 1, 2});
  c.rotary_local_theta = static_cast<double>(draw({0, 50, 100}));
  c.no_rotary_every = draw({0, 2, 3});
  c.rotary_dims = draw({0, 2, c.head_dim() / 2 / 2 * 2});
  c.rotary_scaling = static_cast<RotaryScaling>(draw({0, 1, 2, 3}));
  c.rotary_scaling_factor = 4;
  c.rotary_original_positions = draw({6, 16});
  const auto pairs = static_cast<size_t>((c.rotary_dims > 0 ? c.rotary_dims : c.head_dim()) / 2);
  for (size_t i = 0; i < pairs; ++i) {
    c.rotary_short_factors.push_back(1 + 0.1 * static_cast<double>(i));
    c.rotary_long_factors.push_back(1.5 + static_cast<double>(i));
  }
}

LayoutRun draw_rotary(uint64_t seed) {
  LayoutRun run = draw_layout(seed + 7000);
  if (run.model.head_dim() % 2 != 0) run.model.given_head_dim = run.model.head_dim() + 1;
  draw_positions(seed, run);
  run.model.max_positions = run.seq_len;
  run.steps = 5;
  return run;
}

std::string text_of_positions(const ModelConfig& c) {
  return fmt::format("window {} from {} every {}, local theta {}, none every {}, {} dims, scaling {} from {}",
                     c.window, c.window_from, c.window_pattern, c.rotary_local_theta, c.no_rotary_every,
                     c.rotary_dims, static_cast<int>(c.rotary_scaling), c.rotary_original_positions);
}

class RotaryLayouts : public testing::TestWithParam<uint64_t> {};

TEST_P(RotaryLayouts, FollowOneRank) {
  const LayoutRun run = draw_rotary(GetParam());
  ASSERT_TRUE(errors_of(run.model).empty()) << errors_of(run.model).front();
  SCOPED_TRACE(text_of_positions(run.model) + "; " + text_of(run));
  LayoutRun plain = run;
  plain.recomputation = {};
  Tolerance tolerance;
  if (run.model.moe.num_experts > 0) tolerance.gradients = 2e-5;  // as in window_layouts_test.cpp
  expect_follows(run_on_threads(run.plan.world_size(), run), run_on_one_rank(plain), tolerance);
}

std::vector<uint64_t> drawn() {
  std::vector<uint64_t> seeds(12);
  std::iota(seeds.begin(), seeds.end(), test_seed() * 1000);
  return sample(seeds, 3);
}
INSTANTIATE_TEST_SUITE_P(Drawn, RotaryLayouts, testing::ValuesIn(drawn()),
                         [](const auto& p) { return std::to_string(p.param); });

// A layer that shares weights has its own window and positions.
TEST(RotaryLayoutsOfSharedLayers, FollowOneRank) {
  LayoutRun run;
  run.model = tiny_model(ModelFamily::llama);
  run.model.num_layers = 6;
  run.model.share = 2;
  run.seq_len = run.model.max_positions = 16;
  draw_positions(3, run);
  run.model.no_rotary_every = 3;
  run.steps = 4;
  run.plan = {.data = 1, .pipeline = 2};
  expect_follows(run_on_threads(2, run), run_on_one_rank(run), {});
}

}  // namespace
}  // namespace trireme::test
