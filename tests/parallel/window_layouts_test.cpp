// Layouts with sliding windows or sparse patterns follow one rank: drawn ones, and context ranks that hold
// more than a window.
#include <numeric>

#include <gtest/gtest.h>

#include "models/families/family.h"
#include "runtime/base/philox.h"
#include "tests/support/drawn_layout.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

// A drawn layout with windows of a few tokens, in all blocks or in some, of 16 tokens and more.
LayoutRun draw_windows(uint64_t seed) {
  LayoutRun run = draw_layout(seed + 5000);
  auto draw = [&, n = uint64_t{0}](std::initializer_list<int64_t> values) mutable {
    return values.begin()[philox4x32(seed, n++, 23)[0] % values.size()];
  };
  run.model.window = draw({1, 2, 3, 5, 7, 11, 40});
  run.model.window_pattern = draw({0, 0, 2, 3});
  run.seq_len = 8 * draw({2, 3, 5});
  run.model.max_positions = run.seq_len;
  run.steps = 5;
  return run;
}

// The same with patterns of some blocks, which follow each other.
LayoutRun draw_patterns(uint64_t seed) {
  LayoutRun run = draw_windows(seed + 500);
  auto draw = [&, n = uint64_t{0}](uint64_t below) mutable {
    return static_cast<int64_t>(philox4x32(seed, n++, 29)[0] % below);
  };
  const std::vector<AttentionPattern> kinds{
      {3 + draw(4), {.sinks = 1 + draw(3)}},
      {1 + draw(3), {.stride = 3 + draw(4), .stride_keys = 1 + draw(2)}},
      {0, {.stride = 2 + draw(5)}},
      {1 + draw(2), {.block = 4, .summary = 1 + draw(3), .reach = 2}},
      {0, {.block = 5, .summary = 5, .reach = 1}},
      {2, {.num_globals = 2, .globals = {0, 7}}},
      {}};
  run.model.window = run.model.window_pattern = 0;
  for (int64_t i = 0; i <= draw(3); ++i)
    run.model.patterns.push_back(kinds[static_cast<size_t>(draw(kinds.size()))]);
  return run;
}

void expect_follows_one_rank(const LayoutRun& run) {
  SCOPED_TRACE(fmt::format("window {} pattern {} of {}; {}", run.model.window, run.model.window_pattern,
                           run.seq_len, text_of(run)));
  LayoutRun plain = run;
  plain.recomputation = {};
  Tolerance tolerance;
  // An expert that few of these short sequences' tokens meet has gradients of a few terms that nearly cancel.
  if (run.model.moe.num_experts > 0) tolerance.gradients = 2e-5;
  expect_follows(run_on_threads(run.plan.world_size(), run), run_on_one_rank(plain), tolerance);
}

class WindowLayouts : public testing::TestWithParam<uint64_t> {};

TEST_P(WindowLayouts, FollowOneRank) { expect_follows_one_rank(draw_windows(GetParam())); }

std::vector<uint64_t> drawn() {
  std::vector<uint64_t> seeds(12);
  std::iota(seeds.begin(), seeds.end(), test_seed() * 1000);
  return sample(seeds, 3);
}
INSTANTIATE_TEST_SUITE_P(Drawn, WindowLayouts, testing::ValuesIn(drawn()),
                         [](const auto& p) { return std::to_string(p.param); });

class PatternLayouts : public testing::TestWithParam<uint64_t> {};

TEST_P(PatternLayouts, FollowOneRank) { expect_follows_one_rank(draw_patterns(GetParam())); }

INSTANTIATE_TEST_SUITE_P(Drawn, PatternLayouts, testing::ValuesIn(drawn()),
                         [](const auto& p) { return std::to_string(p.param); });

// Each of four context ranks holds ten tokens, in chunks of five.
TEST(WindowLayoutsOfContextRanks, FollowOneRank) {
  for (const int64_t window : {3, 7, 12}) {
    LayoutRun run;
    run.model = tiny_model(ModelFamily::mistral);
    run.model.window = window;
    run.model.window_pattern = window == 7 ? 2 : 0;
    run.seq_len = run.model.max_positions = 40;
    run.steps = 4;
    run.plan = {.data = 1, .context = 4};
    expect_follows_one_rank(run);
  }
}

}  // namespace
}  // namespace trireme::test
