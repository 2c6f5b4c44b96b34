// Any layout follows one rank: layouts drawn at random from all strategies together.
#include <gtest/gtest.h>

#include "tests/support/drawn_layout.h"
#include "tests/support/run_differences.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

class RandomLayouts : public testing::TestWithParam<uint64_t> {};

TEST_P(RandomLayouts, FollowOneRank) {
  LayoutRun run = draw_layout(GetParam());
  SCOPED_TRACE(text_of(run));
  LayoutRun plain = run;
  plain.recomputation = {};
  const LayoutResult one = run_on_one_rank(plain);
  EXPECT_EQ(one.losses.size(), static_cast<size_t>(run.num_steps()));
  expect_follows_or_drifts(run_on_threads(run.plan.world_size(), run), one, plain);
}

// Another TRIREME_TEST_SEED draws other layouts.
const uint64_t kFirst = test_seed() * 1000;
INSTANTIATE_TEST_SUITE_P(Drawn, RandomLayouts, testing::Range(kFirst, kFirst + (whole_tier() ? 48 : 16)),
                         [](const auto& p) { return std::to_string(p.param); });

}  // namespace
}  // namespace trireme::test
