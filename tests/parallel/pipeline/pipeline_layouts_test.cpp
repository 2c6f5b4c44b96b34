// Pipelines follow one rank, under every schedule and beside the other strategies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "parallel/pipeline/plan_schedule.h"
#include "parallel/pipeline/schedule_file.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/expect_error.h"
#include "tests/support/layout_run.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

constexpr auto kGpt2 = ModelFamily::gpt2, kLlama = ModelFamily::llama;  // gpt2 has tied embeddings

struct Case {
  ModelFamily family;
  ParallelPlan plan;
  int64_t num_layers = 3;
  int64_t global_batch = 8;
  bool unequal = false;
};

std::string name_of(const testing::TestParamInfo<Case>& p) {
  const ParallelPlan& plan = p.param.plan;
  std::string schedule = plan.schedule.text();
  std::erase(schedule, '-');
  return fmt::format("{}_dp{}_tp{}{}_pp{}_{}{}_zero{}_layers{}_batch{}{}", to_string(p.param.family),
                     plan.data, plan.tensor, plan.sequence ? "_sequence" : "", plan.pipeline, schedule,
                     plan.virtual_stages, plan.zero_stage, p.param.num_layers, p.param.global_batch,
                     p.param.unequal ? "_unequal" : "");
}

ScheduleSpec read(const std::string& path) {
  ScheduleSpec spec = ScheduleSpec::named(path);
  read_schedule_of(spec);
  return spec;
}

LayoutRun run_of(const Case& c) {
  LayoutRun r;
  r.model = tiny_model(c.family);
  r.model.num_layers = c.num_layers;
  r.plan = c.plan;
  r.global_batch = c.global_batch;
  r.unequal_targets = c.unequal;
  r.plan.bucket_mib = in_mib(4096);
  return r;
}

class PipelineLayouts : public testing::TestWithParam<Case> {};

TEST_P(PipelineLayouts, FollowOneRank) {
  const LayoutRun run = run_of(GetParam());
  expect_follows(run_on_threads(run.plan.world_size(), run), run_on_one_rank(run));
}

INSTANTIATE_TEST_SUITE_P(
    All, PipelineLayouts,
    testing::Values(
        Case{kGpt2, {.data = 1, .pipeline = 2}}, Case{kLlama, {.data = 1, .pipeline = 2}, 3, 8, true},
        Case{kGpt2, {.data = 1, .pipeline = 2, .schedule = ScheduleKind::gpipe}, 5, 3},
        Case{kGpt2, {.data = 1, .pipeline = 4, .schedule = ScheduleKind::zb_h1}, 5, 8, true},
        Case{kLlama, {.data = 1, .pipeline = 4, .schedule = ScheduleKind::zb_h1}, 3, 2},
        Case{kLlama, {.data = 1, .pipeline = 4}, 5, 1},
        Case{kGpt2,
             {.data = 1, .pipeline = 2, .schedule = ScheduleKind::interleaved, .virtual_stages = 2},
             5,
             8},
        Case{kLlama,
             {.data = 1, .pipeline = 2, .schedule = ScheduleKind::interleaved, .virtual_stages = 3},
             6,
             5,
             true},
        Case{kLlama,
             {.data = 1, .pipeline = 4, .schedule = ScheduleKind::interleaved, .virtual_stages = 2},
             6,
             3},
        Case{kGpt2, {.data = 2, .pipeline = 2}, 3, 8, true},
        Case{kGpt2, {.data = 2, .pipeline = 2, .zero_stage = 1}, 3, 8, true},
        Case{kGpt2, {.data = 2, .pipeline = 2, .zero_stage = 2, .schedule = ScheduleKind::zb_h1}, 3, 8},
        Case{kLlama, {.data = 2, .pipeline = 4, .zero_stage = 2}, 5, 8},
        Case{kGpt2, {.data = 1, .tensor = 2, .pipeline = 2}},
        Case{kLlama,
             {.data = 1, .tensor = 2, .pipeline = 2, .sequence = true, .schedule = ScheduleKind::gpipe},
             3,
             8,
             true},
        Case{kLlama,
             {.data = 1, .tensor = 4, .pipeline = 2, .sequence = true, .schedule = ScheduleKind::zb_h1}},
        Case{kGpt2, {.data = 2, .tensor = 2, .pipeline = 2}, 3, 8, true},
        Case{kLlama,
             {.data = 2,
              .tensor = 2,
              .pipeline = 2,
              .zero_stage = 2,
              .sequence = true,
              .schedule = ScheduleKind::interleaved,
              .virtual_stages = 2},
             5,
             8,
             true},
        Case{kGpt2, {.data = 1, .pipeline = 8}, 6, 8}),
    name_of);

// Without a tied head a pipeline does the same sums in the same order as one rank.
TEST(PipelineParallel, NoScheduleChangesABit) {
  LayoutRun run = run_of({kLlama, {.data = 1}, 6, 8, true});
  run.steps = 5;
  const LayoutResult one = run_on_one_rank(run);
  for (const ScheduleKind schedule :
       {ScheduleKind::gpipe, ScheduleKind::one_f_one_b, ScheduleKind::zb_h1, ScheduleKind::interleaved}) {
    run.plan = {.data = 1, .pipeline = 2, .schedule = schedule};
    if (run.plan.schedule == ScheduleKind::interleaved) run.plan.virtual_stages = 2;
    const LayoutResult result = run_on_threads(2, run);
    EXPECT_EQ(result.gradients, one.gradients) << to_string(schedule);
    EXPECT_EQ(result.losses, one.losses) << to_string(schedule);
    EXPECT_NEAR(result.norms.front(), one.norms.front(), 1e-14)
        << to_string(schedule);  // stages add their squares
  }
}

TEST(PipelineParallel, AScheduleFromAFileIsRun) {
  const TemporaryFolder folder;
  const std::string path = folder.path("mine.txt");
  write_schedule(parse_schedule("F0 F1 B1 F2 F3 B0 B3 B2\nF0 F1 B1 B0 F3 F2 B3 B2\n", "mine"), path);
  LayoutRun run = run_of({kGpt2, {.data = 1, .pipeline = 2, .schedule = read(path)}, 3, 4, true});
  expect_follows(run_on_threads(2, run), run_on_one_rank(run));
}

TEST(PipelineParallel, AScheduleFileForAnotherJobIsRefusedWithAllNumbers) {
  const TemporaryFolder folder;
  const std::string path = folder.path("mine.txt");
  write_schedule(make_schedule(ScheduleKind::one_f_one_b, 3, 5), path);
  const ParallelPlan plan{.data = 1, .pipeline = 2, .schedule = read(path)};
  const auto errors = pipeline_errors(plan, 5, 4);
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_THAT(errors[0], testing::HasSubstr("for 3 stages, the job has 2: use --parallel.pipeline 3"));
  EXPECT_THAT(errors[1], testing::HasSubstr("for 5 micro-batches, the job has 4"));
}

TEST(PipelineParallel, AScheduleFileThatDeadlocksIsRefused) {
  const TemporaryFolder folder;
  const std::string path = folder.path("mine.txt");
  write_schedule(parse_schedule("F0 B0 F1 B1\nF1 B1 F0 B0\n", "mine"), path);
  expect_error(ExitCode::bad_input, {"is not a valid schedule", "waits forever"},
               [&] { training_schedule({.data = 1, .pipeline = 2, .schedule = read(path)}, 2); });
}

TEST(PipelineParallel, MoreStagesThanLayersAreRefused) {
  EXPECT_THAT(pipeline_errors({.data = 1, .pipeline = 8}, 5, 4),
              testing::ElementsAre(testing::HasSubstr("use at most --parallel.pipeline 5")));
  EXPECT_THAT(
      pipeline_errors({.data = 1, .pipeline = 2, .schedule = ScheduleKind::interleaved, .virtual_stages = 4},
                      7, 4),
      testing::ElementsAre(testing::HasSubstr("use at most --parallel.virtual-stages 3")));
}

TEST(PipelineParallel, EvaluationAndLogitsAreThoseOfOneRank) {
  const ModelConfig config = tiny_model(kGpt2);
  const std::vector<int32_t> tokens{1, 5, 9, 30, 2, 7, 36, 0}, targets{5, 9, 30, 2, 7, 36, 0, -1};
  const auto self = make_self_communicator();
  Context ctx;
  const auto run = [&](Communicator& world, const ParallelPlan& plan, std::vector<float>& logits) {
    Context mine;
    TrainingSession session(mine, world, plan, config, {.max_seq_len = 8, .seed = 3});
    TrainingStep& step = session.step();
    std::vector<MicroBatch> batches;
    for (int i = 0; i < 3; ++i) batches.push_back(make_micro_batch(mine, 2, 4, tokens, targets));
    logits = to_vector(session.model().logits(mine, batches[0]));
    EXPECT_TRUE(std::isnan(step.evaluate({}).mean_loss()));  // a mean over nothing is no number
    const BatchTotals whole = step.evaluate(batches);
    size_t at = 0;
    const BatchTotals streamed = step.evaluate_from([&] {  // two, then one
      const size_t begin = std::exchange(at, std::min<size_t>(at + 2, batches.size()));
      return std::vector<MicroBatch>(batches.begin() + static_cast<ptrdiff_t>(begin),
                                     batches.begin() + static_cast<ptrdiff_t>(at));
    });
    EXPECT_EQ(streamed.loss_sum, whole.loss_sum);
    EXPECT_EQ(streamed.weight, whole.weight);
    return whole;
  };
  std::vector<float> expected;
  const BatchTotals one = run(*self, {.data = 1}, expected);
  EXPECT_EQ(one.weight, 21);
  for (const int virtual_stages : {1, 2}) {
    run_thread_ranks(2, [&](Communicator& world) {
      std::vector<float> logits;
      ParallelPlan plan{.data = 1, .pipeline = 2, .virtual_stages = virtual_stages};
      if (virtual_stages > 1) plan.schedule = ScheduleKind::interleaved;
      const BatchTotals totals = run(world, plan, logits);
      EXPECT_EQ(totals.loss_sum, one.loss_sum);
      EXPECT_EQ(totals.weight, one.weight);
      EXPECT_EQ(logits, expected);
    });
  }
}

}  // namespace
}  // namespace trireme::test
