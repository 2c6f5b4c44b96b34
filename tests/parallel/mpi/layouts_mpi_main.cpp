// Layouts over MPI, on the tests' device, follow one rank on the CPU. Every rank compares with a run of its
// own; the exit code is of all ranks together.
#include <algorithm>

#include <gtest/gtest.h>

#include "models/families/family.h"
#include "tests/support/layout_run.h"
#include "tests/support/mpi_test_main.h"
#include "tests/support/test_device.h"

namespace trireme::test {
namespace {

LayoutRun run_of(ModelFamily family) {
  LayoutRun run;
  run.model = tiny_model(family);
  run.device = test_device();
  run.settings = test_settings();
  return run;
}

class MpiLayouts : public testing::TestWithParam<ModelFamily> {};

TEST_P(MpiLayouts, DataParallelFollowsOneRank) {
  const auto world = mpi_environment->make_world();
  for (const bool unequal : {false, true}) {
    LayoutRun run = run_of(GetParam());
    run.unequal_targets = unequal;
    run.plan.bucket_mib = in_mib(4096);
    const LayoutResult result = run_layout(*world, run);
    expect_follows(result, run_on_one_rank(run));
    run.plan.bucket_mib = in_mib(50000);
    run.plan.overlap = false;
    EXPECT_EQ(run_layout(*world, run).weights, result.weights) << "buckets and overlap change bits";
  }
}

TEST_P(MpiLayouts, TensorParallelFollowsOneRank) {
  const auto world = mpi_environment->make_world();
  for (const bool sequence : {false, true}) {
    LayoutRun run = run_of(GetParam());
    run.unequal_targets = true;
    run.plan = {.tensor = world->size() == 2 ? 2 : 4, .sequence = sequence};
    expect_follows(run_layout(*world, run), run_on_one_rank(run));
  }
}

TEST_P(MpiLayouts, PipelinesFollowOneRank) {
  const auto world = mpi_environment->make_world();
  const int rest = world->size() / 2;  // stages of the first plan, other ranks of the second
  const ParallelPlan plans[] = {
      {.pipeline = std::min(world->size(), 4), .schedule = ScheduleKind::zb_h1},
      {.tensor = rest >= 2 ? 2 : 1,
       .pipeline = 2,
       .schedule = ScheduleKind::interleaved,
       .virtual_stages = 2},
  };
  for (const ParallelPlan& plan : plans) {
    LayoutRun run = run_of(GetParam());
    run.unequal_targets = true;
    run.plan = plan;
    expect_follows(run_layout(*world, run), run_on_one_rank(run));
  }
}

TEST_P(MpiLayouts, ExpertParallelFollowsOneRank) {
  const auto world = mpi_environment->make_world();
  const ParallelPlan plans[] = {{.expert = world->size()},
                                {.tensor = 2, .expert = std::max(1, world->size() / 4)}};
  for (const ParallelPlan& plan : plans) {
    LayoutRun run = run_of(GetParam());
    run.model.init_std = 0.2;
    run.model.moe = {.num_experts = 8, .expert_ffn_size = 12, .aux_loss = 0.05, .z_loss = 0.01};
    run.steps = 4;
    run.lr = 1e-4;
    run.plan = plan;
    expect_follows(run_layout(*world, run), run_on_one_rank(run));
  }
}

TEST_P(MpiLayouts, ContextParallelFollowsOneRank) {
  const auto world = mpi_environment->make_world();
  const int beside = world->size() >= 4 ? 2 : 1;  // ranks of the other degree
  const ParallelPlan plans[] = {{.context = std::min(4, world->size())},
                                {.tensor = beside, .context = 2, .sequence = beside > 1},
                                {.pipeline = beside, .context = 2}};
  for (const ParallelPlan& plan : plans) {
    LayoutRun run = run_of(GetParam());
    run.seq_len = 16;
    run.micro_batch = 2;
    run.unequal_targets = true;
    run.plan = plan;
    expect_follows(run_layout(*world, run), run_on_one_rank(run));
  }
}

TEST_P(MpiLayouts, ZeroEqualsPlainDataParallelismBitForBit) {
  const auto world = mpi_environment->make_world();
  for (const DType precision : {DType::f32, DType::bf16}) {
    LayoutRun run = run_of(GetParam());
    run.precision = precision;
    run.steps = 5;
    run.unequal_targets = true;
    run.plan.bucket_mib = in_mib(20000);
    const LayoutResult plain = run_layout(*world, run);
    for (const int stage : {1, 2, 3}) {
      run.plan.zero_stage = stage;
      const LayoutResult result = run_layout(*world, run);
      EXPECT_EQ(result.losses, plain.losses) << "stage " << stage;
      EXPECT_EQ(result.norms, plain.norms) << "stage " << stage;
      EXPECT_EQ(result.weights, plain.weights) << "stage " << stage;
    }
  }
}

TEST_P(MpiLayouts, ShardsOfTwoHaveEqualBitsAtEveryZeroStage) {
  const auto world = mpi_environment->make_world();
  LayoutRun run = run_of(GetParam());
  run.unequal_targets = true;
  run.plan.shard = 2;
  run.plan.zero_stage = 1;
  const LayoutResult first = run_layout(*world, run);
  expect_follows(first, run_on_one_rank(run));
  for (const int stage : {2, 3}) {
    run.plan.zero_stage = stage;
    const LayoutResult result = run_layout(*world, run);
    EXPECT_EQ(result.norms, first.norms) << "stage " << stage;
    EXPECT_EQ(result.weights, first.weights) << "stage " << stage;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, MpiLayouts, testing::Values(ModelFamily::gpt2, ModelFamily::llama),
                         [](const auto& p) { return std::string(to_string(p.param)); });

}  // namespace
}  // namespace trireme::test

int main(int argc, char** argv) { return trireme::test::run_mpi_tests(argc, argv); }
