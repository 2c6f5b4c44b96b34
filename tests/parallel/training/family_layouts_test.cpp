// Families that bring mechanisms of their own (windows, caps, norms of heads and on both sides) follow one
// rank in every kind of layout.
#include <gtest/gtest.h>

#include "models/families/family.h"
#include "tests/support/layout_run.h"

namespace trireme::test {
namespace {

struct Case {
  const char* name;
  int ranks;
  ParallelPlan plan;
};

class FamilyLayouts : public testing::TestWithParam<Case> {};

TEST_P(FamilyLayouts, FollowOneRank) {
  for (const ModelFamily family : {ModelFamily::qwen3, ModelFamily::gemma2, ModelFamily::mistral}) {
    LayoutRun run;
    run.model = tiny_model(family);
    run.steps = 5;
    const LayoutResult one = run_on_one_rank(run);
    run.plan = GetParam().plan;
    run.plan.bucket_mib = in_mib(20000);
    SCOPED_TRACE(to_string(family));
    expect_follows(run_on_threads(GetParam().ranks, run), one);
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, FamilyLayouts,
                         testing::Values(Case{"TensorBeyondKvHeads", 4, {.data = 1, .tensor = 4}},
                                         Case{"Sequence", 2, {.data = 1, .tensor = 2, .sequence = true}},
                                         Case{"Context", 2, {.data = 1, .context = 2}},
                                         Case{"Pipeline", 2, {.data = 1, .pipeline = 2}},
                                         Case{"Zero3", 2, {.data = 2, .zero_stage = 3}}),
                         [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace trireme::test
