// Training for early exit follows one rank in any layout: its losses, and which samples pass which layers by.
#include <gtest/gtest.h>

#include "tests/support/drawn_layout.h"
#include "tests/support/run_differences.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

class EarlyExitLayouts : public testing::TestWithParam<uint64_t> {};

TEST_P(EarlyExitLayouts, FollowOneRank) {
  LayoutRun run = draw_layout(GetParam());
  draw_exits(GetParam(), run);
  run.steps = whole_tier() ? 10 : 4;
  SCOPED_TRACE(text_of(run));
  LayoutRun plain = run;
  plain.recomputation = {};
  expect_follows_or_drifts(run_on_threads(run.plan.world_size(), run), run_on_one_rank(plain), plain);
}

const uint64_t kFirst = test_seed() * 1000 + 400;
INSTANTIATE_TEST_SUITE_P(Drawn, EarlyExitLayouts,
                         testing::Range(kFirst, kFirst + (whole_tier()                 ? 48
                                                          : is_short_under_sanitizer() ? 4
                                                                                       : 12)),
                         [](const auto& p) { return std::to_string(p.param); });

// Streams travel through several virtual stages of each rank, and through a backward pass that is split.
TEST(EarlyExitOfAllStages, FollowOneRank) {
  for (const ScheduleKind kind : {ScheduleKind::zb_h1, ScheduleKind::interleaved}) {
    const bool is_split = kind == ScheduleKind::zb_h1;
    LayoutRun run;
    run.model = tiny_model(ModelFamily::llama);
    run.model.num_layers = 5;
    run.model.exits = {1, 2, 4};
    run.exits = {
        .scale = 2, .dropout = 0.7, .curriculum = is_split ? ExitCurriculum::all : ExitCurriculum::rotating};
    run.plan = {.data = 2,
                .pipeline = is_split ? 4 : 2,
                .zero_stage = is_split ? 3 : 2,
                .schedule = kind,
                .virtual_stages = is_split ? 1 : 3,
                .bucket_mib = in_mib(2000)};
    run.steps = 4;
    const LayoutResult one = run_on_one_rank(run);
    EXPECT_GT(one.added.front(), 0);
    expect_follows(run_on_threads(run.plan.world_size(), run), one);
  }
}

}  // namespace
}  // namespace trireme::test
