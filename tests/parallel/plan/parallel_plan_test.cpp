#include "parallel/plan/parallel_plan.h"

#include <gmock/gmock.h>

namespace trireme {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(ParallelPlan, DataTakesTheWholeWorldWhenLeftOpen) {
  for (const int world : {1, 2, 7}) {
    ParallelPlan plan;
    EXPECT_THAT(resolve(plan, world), IsEmpty());
    EXPECT_EQ(plan.data, world);
    EXPECT_EQ(plan.world_size(), world);
  }
}

TEST(ParallelPlan, ADataDegreeThatDoesNotFitTheWorld) {
  ParallelPlan plan{.data = 4};
  EXPECT_THAT(resolve(plan, 2), ElementsAre(AllOf(HasSubstr("2 ranks were started"), HasSubstr("mpirun -n 4"),
                                                  HasSubstr("--parallel.data 2"))));
}

TEST(ParallelPlan, ExpertRanksAreDataAndContextRanks) {
  ParallelPlan plan{.context = 2, .expert = 4};
  EXPECT_THAT(resolve(plan, 4), IsEmpty());
  EXPECT_EQ(plan.data, 2);
  ParallelPlan alone{.tensor = 4, .expert = 2};
  EXPECT_THAT(resolve(alone, 4), ElementsAre(AllOf(HasSubstr("parallel.expert 2 does not divide the 1 rank"),
                                                   HasSubstr("--parallel.expert 1"))));
}

TEST(ParallelPlan, APipelineTakesItsShareOfTheWorld) {
  ParallelPlan plan{.tensor = 2, .pipeline = 3, .schedule = ScheduleKind::zb_h1};
  EXPECT_THAT(resolve(plan, 12), IsEmpty());
  EXPECT_EQ(plan.data, 2);
}

TEST(ParallelPlan, PipelineOptionsWithoutAPipelineAreRefused) {
  ParallelPlan plan{.schedule = ScheduleKind::interleaved, .virtual_stages = 2};
  EXPECT_THAT(
      resolve(plan, 1),
      ElementsAre(AllOf(HasSubstr("parallel.schedule interleaved has no effect"), HasSubstr("pipeline 2")),
                  AllOf(HasSubstr("parallel.virtual-stages 2 has no effect"), HasSubstr("pipeline 2"))));
}

TEST(ParallelPlan, VirtualStagesAndScheduleMustFit) {
  ParallelPlan interleaved{.pipeline = 2, .schedule = ScheduleKind::interleaved};
  EXPECT_THAT(resolve(interleaved, 2), ElementsAre(HasSubstr("needs --parallel.virtual-stages 2 or more")));
  ParallelPlan plain{.pipeline = 2, .schedule = ScheduleKind::zb_h1, .virtual_stages = 3};
  EXPECT_THAT(resolve(plain, 2),
              ElementsAre(HasSubstr("virtual-stages 3 needs --parallel.schedule interleaved, not zb-h1")));
  ParallelPlan nameless{.pipeline = 2, .schedule = ScheduleSpec::named("")};
  EXPECT_THAT(resolve(nameless, 2), ElementsAre(HasSubstr("parallel.schedule is empty")));
}

TEST(ParallelPlan, TensorRanksTakeTheirShareOfTheWorld) {
  ParallelPlan plan{.tensor = 4, .sequence = true};
  EXPECT_THAT(resolve(plan, 8), IsEmpty());
  EXPECT_EQ(plan.data, 2);
}

TEST(ParallelPlan, SequenceParallelismNeedsTensorRanks) {
  ParallelPlan plan{.sequence = true};
  EXPECT_THAT(resolve(plan, 4), ElementsAre(AllOf(HasSubstr("parallel.sequence"), HasSubstr("2 or more"))));
}

TEST(ParallelPlan, ChunksNeedTensorRanks) {
  ParallelPlan plan{.tensor_chunks = 4};
  EXPECT_THAT(resolve(plan, 2), ElementsAre(AllOf(HasSubstr("parallel.tensor-chunks 4 has no effect"),
                                                  HasSubstr("--parallel.tensor 2 or more"))));
  ParallelPlan none{.tensor = 2, .tensor_chunks = 0};
  EXPECT_THAT(resolve(none, 2), ElementsAre(HasSubstr("parallel.tensor-chunks is 0")));
}

TEST(ParallelPlan, ZeroDividesAmongTwoRanksOrMore) {
  for (const int stage : {0, 1, 2, 3}) {
    ParallelPlan plan{.zero_stage = stage};
    EXPECT_THAT(resolve(plan, 2), IsEmpty()) << stage;
  }
  ParallelPlan alone{.zero_stage = 1};
  EXPECT_THAT(resolve(alone, 1), ElementsAre(AllOf(HasSubstr("parallel.zero 1"), HasSubstr("no effect"),
                                                   HasSubstr("--parallel.data 2"))));
  ParallelPlan beside{.tensor = 2, .zero_stage = 1};
  EXPECT_THAT(resolve(beside, 4), IsEmpty());
}

TEST(ParallelPlan, AShardDividesTheRanksThatShareParameters) {
  for (const int shard : {0, 2, 3, 6}) {
    ParallelPlan plan{.tensor = 2, .zero_stage = 2, .shard = shard};
    EXPECT_THAT(resolve(plan, 12), IsEmpty()) << shard;
    EXPECT_EQ(plan.shard_ranks(), shard == 0 ? 6 : shard);
  }
  const auto fault = [](int shard) {
    ParallelPlan plan{.zero_stage = 3, .shard = shard};
    return resolve(plan, 6);
  };
  EXPECT_THAT(fault(4), ElementsAre(AllOf(HasSubstr("parallel.shard 4"), HasSubstr("the 6 ranks"),
                                          testing::EndsWith("nearest are 3 and 6"))));
  EXPECT_THAT(fault(1), ElementsAre(AllOf(HasSubstr("one rank"), testing::EndsWith("nearest is 2"))));
  EXPECT_THAT(fault(100), ElementsAre(testing::EndsWith("nearest is 6")));
  EXPECT_THAT(fault(-1), ElementsAre(HasSubstr("parallel.shard is -1")));
}

TEST(ParallelPlan, AShardWithoutZeroHasNoEffect) {
  ParallelPlan plan{.shard = 2};
  EXPECT_THAT(resolve(plan, 4), ElementsAre(AllOf(HasSubstr("parallel.shard 2 has no effect"),
                                                  HasSubstr("parallel.zero 1, 2 or 3"))));
  ParallelPlan both{.shard = 3};
  EXPECT_THAT(resolve(both, 4), testing::SizeIs(2));
}

TEST(ParallelPlan, AReplicaThatDoesNotDivideTheWorld) {
  ParallelPlan plan{.tensor = 2, .pipeline = 3};
  EXPECT_THAT(resolve(plan, 8),
              Contains(AllOf(HasSubstr("8 ranks were started"), HasSubstr("= 6"), HasSubstr("6 or 12"))));
}

TEST(ParallelPlan, NumbersOutOfRange) {
  ParallelPlan plan{.data = -1, .tensor = 0, .zero_stage = 4, .bucket_mib = 0};
  EXPECT_THAT(
      resolve(plan, 1),
      testing::IsSupersetOf({HasSubstr("parallel.data is -1"), HasSubstr("parallel.tensor is 0"),
                             HasSubstr("parallel.zero is 4"), HasSubstr("parallel.bucket-mib is 0")}));
}

TEST(ParallelPlan, HugeDegreesDoNotOverflow) {
  ParallelPlan plan{.data = 1000000, .tensor = 1000000, .pipeline = 1000000};
  EXPECT_THAT(resolve(plan, 1), Contains(HasSubstr("start 1000000000000000000")));
}

}  // namespace
}  // namespace trireme
