// Data parallelism follows one rank: gradients, norms, losses and weights.
#include <gtest/gtest.h>

#include "models/families/family.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/layout_run.h"

namespace trireme::test {
namespace {

struct Case {
  ModelFamily family;
  int ranks;
  bool unequal;
};

class DataParallelLayouts : public testing::TestWithParam<Case> {
 protected:
  LayoutRun run() const {
    LayoutRun r;
    r.model = tiny_model(GetParam().family);
    r.unequal_targets = GetParam().unequal;
    r.plan.bucket_mib = in_mib(4096);  // several buckets even here
    return r;
  }
};

TEST_P(DataParallelLayouts, FollowOneRank) {
  LayoutRun one = run();
  one.micro_batch = 2;
  expect_follows(run_on_threads(GetParam().ranks, run()), run_on_one_rank(one));
}

TEST_P(DataParallelLayouts, AreEqualBitForBitFromRunToRun) {
  LayoutRun r = run();
  r.steps = 5;
  const LayoutResult first = run_on_threads(GetParam().ranks, r),
                     second = run_on_threads(GetParam().ranks, r);
  EXPECT_EQ(first.losses, second.losses);
  EXPECT_EQ(first.weights, second.weights);
}

INSTANTIATE_TEST_SUITE_P(All, DataParallelLayouts,
                         testing::Values(Case{ModelFamily::gpt2, 2, false}, Case{ModelFamily::gpt2, 4, true},
                                         Case{ModelFamily::gpt2, 8, false}, Case{ModelFamily::llama, 2, true},
                                         Case{ModelFamily::llama, 4, false},
                                         Case{ModelFamily::llama, 8, true}),
                         [](const auto& p) {
                           return fmt::format("{}_dp{}{}", to_string(p.param.family), p.param.ranks,
                                              p.param.unequal ? "_unequal" : "");
                         });

TEST(DataParallel, OverlapAndBucketSizeChangeNoBit) {
  LayoutRun r;
  r.model = tiny_model(ModelFamily::gpt2);
  r.steps = 5;
  const LayoutResult reference = run_on_threads(4, r);
  for (const int64_t bytes : {int64_t{1}, int64_t{10000}}) {
    for (const bool overlap : {false, true}) {
      r.plan.bucket_mib = in_mib(bytes);
      r.plan.overlap = overlap;
      EXPECT_EQ(run_on_threads(4, r).weights, reference.weights) << bytes << " bytes, overlap " << overlap;
    }
  }
}

TEST(DataParallel, MicroBatchSizeIsAMatterOfRoundingOnly) {
  LayoutRun r;
  r.model = tiny_model(ModelFamily::llama);
  r.unequal_targets = true;
  r.micro_batch = 8;
  const LayoutResult whole = run_on_one_rank(r);
  for (const int64_t micro_batch : {1, 2, 4}) {
    r.micro_batch = micro_batch;
    expect_follows(run_on_one_rank(r), whole);
  }
}

TEST(DataParallel, NumberOfThreadsChangesNoBitOfTheLoss) {
  LayoutRun r;
  r.model = tiny_model(ModelFamily::gpt2);
  r.steps = 1;
  const LayoutResult one = run_on_one_rank(r);
  r.num_threads = 2;
  const LayoutResult two = run_on_one_rank(r);
  expect_follows(two, one);
}

TEST(DataParallel, ARankThatThrowsEndsTheOthersAndIsNamed) {
  LayoutRun r;
  r.model = tiny_model(ModelFamily::gpt2);
  r.steps = 2;
  try {
    run_thread_ranks(3, [&](Communicator& world) {
      if (world.rank() == 1) throw_bad_input("planted on rank 1");
      LayoutRun mine = r;
      mine.global_batch = 6;
      run_layout(world, mine);
    });
    FAIL() << "nothing was thrown";
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(), "planted on rank 1");
  }
}

}  // namespace
}  // namespace trireme::test
