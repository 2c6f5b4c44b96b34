// Layers that share weights follow one rank in any layout, and begin with the same weights in all.
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/drawn_layout.h"
#include "tests/support/run_differences.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

LayoutRun draw(uint64_t seed) {
  LayoutRun run = draw_layout(seed);
  draw_sharing(seed, run);
  if (!whole_tier()) run.steps = 10;
  return run;
}

class SharedLayers : public testing::TestWithParam<uint64_t> {};

TEST_P(SharedLayers, FollowOneRank) {
  LayoutRun run = draw(GetParam());
  SCOPED_TRACE(text_of(run));
  LayoutRun plain = run;
  plain.recomputation = {};
  const LayoutResult one = run_on_one_rank(plain);
  expect_follows_or_drifts(run_on_threads(run.plan.world_size(), run), one, plain);
  run.steps = plain.steps = 0;
  EXPECT_EQ(run_on_threads(run.plan.world_size(), run).weights, run_on_one_rank(plain).weights);
}

// Others than those of layers with weights of their own.
const uint64_t kFirst = test_seed() * 1000 + 200;
INSTANTIATE_TEST_SUITE_P(Drawn, SharedLayers, testing::Range(kFirst, kFirst + (whole_tier() ? 48 : 5)),
                         [](const auto& p) { return std::to_string(p.param); });

// Neighbours, sets of any sizes, layers of their own between them: whatever layers of whichever stages share.
class SharingPatterns : public testing::TestWithParam<uint64_t> {};

TEST_P(SharingPatterns, FollowOneRank) {
  LayoutRun run = draw_layout(GetParam());
  draw_sharing_pattern(GetParam(), run);
  run.steps = whole_tier() ? 20 : 4;
  SCOPED_TRACE(text_of(run));
  EXPECT_TRUE(errors_of(run.model).empty());
  LayoutRun plain = run;
  plain.recomputation = {};
  expect_follows_or_drifts(run_on_threads(run.plan.world_size(), run), run_on_one_rank(plain), plain);
}

INSTANTIATE_TEST_SUITE_P(Drawn, SharingPatterns,
                         testing::Range(kFirst + 50, kFirst + (whole_tier() ? 90 : 62)),
                         [](const auto& p) { return std::to_string(p.param); });

// Every layer of all stages has the weights of one, also where the backward pass is split.
TEST(SharedLayersOfAllStages, FollowOneRank) {
  for (const ScheduleKind kind : {ScheduleKind::zb_h1, ScheduleKind::interleaved}) {
    const bool is_split = kind == ScheduleKind::zb_h1;
    LayoutRun run;
    run.model = tiny_model(ModelFamily::gpt2);
    run.model.num_layers = 5;
    run.model.share = 1;
    run.plan = {.data = 2,
                .pipeline = is_split ? 4 : 2,
                .zero_stage = is_split ? 3 : 2,
                .schedule = kind,
                .virtual_stages = is_split ? 1 : 3,
                .bucket_mib = in_mib(2000)};
    run.steps = 4;
    expect_follows(run_on_threads(run.plan.world_size(), run), run_on_one_rank(run));
  }
}

// Stages hold the same layers in different orders, so that other ranks make a matrix orthogonal on each. The
// momentum is of the sum over all layers, and copies stay equal bit for bit.
TEST(SharedLayersOfMuon, FollowOneRank) {
  for (const bool shards_matrices : sample(std::vector{true, false}, 1)) {
    LayoutRun run;
    run.rules = muon_rules();
    run.steps = 3;
    run.lr = 1e-2;
    run.model = tiny_model(ModelFamily::llama);
    run.model.num_layers = 5;
    run.model.share = 2;
    run.plan = {.data = shards_matrices ? 1 : 2,
                .tensor = shards_matrices ? 2 : 1,
                .pipeline = 2,
                .zero_stage = shards_matrices ? 0 : 2,
                .bucket_mib = in_mib(2000)};
    SCOPED_TRACE(text_of(run));
    LayoutRun plain = run;
    plain.plan.zero_stage = 0;
    expect_follows(run_on_threads(run.plan.world_size(), run), run_on_one_rank(plain));
  }
}

}  // namespace
}  // namespace trireme::test
