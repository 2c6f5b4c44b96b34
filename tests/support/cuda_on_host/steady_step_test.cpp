// A steady step of a dense model: the host takes no memory and waits for nothing but, in the end, the numbers
// of the step before. As a CUDA graph it computes the same bits.
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/cuda_on_host/device_memory.h"
#include "tests/support/nccl_on_host/nccl_ranks.h"
#include "tests/support/small_training.h"

namespace trireme::test {
namespace {

using cuda_on_host::counts;

class SteadyStep : public testing::TestWithParam<SmallTraining> {};

// A graph is captured in the second step. Evaluating takes other memory, which the next step may take over.
std::vector<double> results_of(Communicator& world, const SmallTraining& c, Way way) {
  Training training(world, c, way);
  training.train(3);
  training.evaluate();
  training.train(1);
  counts() = {};
  training.train(3);
  if (way != Way::at_once) {
    EXPECT_EQ(counts().waits, 0);
    // How long a message holds its memory differs from step to step.
    if (c.plan.pipeline == 1) {
      EXPECT_EQ(counts().memory_calls, 0);
    }
    EXPECT_EQ(counts().event_waits, 3 * 2) << "for the totals and the norm of each step before";
  }
  return training.results();
}

void on_ranks(int num_ranks, const std::function<void(Communicator&)>& body) {
  run_nccl_ranks(num_ranks, [&](Communicator& world, Device) { body(world); });
}

/// What is summed or gathered whole in each step, and goes with the step.
TEST(SteadyStep, BuffersAreRegisteredWithNccl) {
  const auto made_by = [](const ParallelPlan& plan) {
    const auto before = nccl_on_host::registrations();
    on_ranks(2, [&](Communicator& world) {
      Training training(world, {"", 2, ModelFamily::gpt2, plan}, Way::late);
      training.train(2);
      EXPECT_GT(training.results()[0], 1);
    });
    const auto after = nccl_on_host::registrations();
    EXPECT_EQ(after.left, before.left);
    return after.made - before.made;
  };
  constexpr int64_t kGroups = 2, kRanks = 2;  // matrices and vectors
  EXPECT_EQ(made_by({}), kRanks * kGroups) << "gradients";
  EXPECT_EQ(made_by({.zero_stage = 1}), kRanks * 2 * kGroups) << "gradients and weights";
  EXPECT_EQ(made_by({.zero_stage = 2}), kRanks * kGroups) << "weights";
  EXPECT_EQ(made_by({.zero_stage = 3}), kRanks) << "weights of vectors";
  EXPECT_EQ(made_by({.tensor = 2}), 0) << "one replica";
}

TEST_P(SteadyStep, WaitsForNothing) {
  on_ranks(GetParam().ranks, [](Communicator& world) {
    const auto late = results_of(world, GetParam(), Way::late);
    EXPECT_EQ(late, results_of(world, GetParam(), Way::at_once)) << "numbers read late are the same";
    EXPECT_GT(late[0], 1);
  });
}

/// Its suites' names say what a filter runs or leaves out: graphs over NCCL are to fail alone.
using StepGraphOverNccl = SteadyStep;

TEST_P(StepGraphOverNccl, ComputesTheSameBits) {
  on_ranks(GetParam().ranks, [](Communicator& world) {
    EXPECT_EQ(results_of(world, GetParam(), Way::as_graph), results_of(world, GetParam(), Way::at_once));
  });
}

/// Other sizes are captured again, and so are the first ones when they come back.
TEST(StepGraphOverNccl, FollowsTheSizesOfItsBatches) {
  on_ranks(2, [](Communicator& world) {
    const auto run = [&](Way way) {
      Training training(world, {"", 2, ModelFamily::gpt2, {.zero_stage = 1}}, way);
      for (const int64_t num_batches : {2, 1, 2}) training.train(4, num_batches);
      return training.results();
    };
    EXPECT_EQ(run(Way::as_graph), run(Way::at_once));
  });
}

/// Passes of other sizes do not run as a graph, while the update after them does.
TEST(StepGraphOverNccl, AnEvaluationBehindPassesWithoutAGraphHasNewWeights) {
  on_ranks(2, [](Communicator& world) {
    const auto run = [&](Way way) {
      Training training(world, {"", 2, ModelFamily::gpt2, {.zero_stage = 3}}, way);
      training.train(3, 2);
      training.train(1, 1);
      training.evaluate();
      return training.results();
    };
    EXPECT_EQ(run(Way::as_graph), run(Way::at_once));
  });
}

const SmallTraining kSequence{
    "Llama_tensor2_sequence", 2, ModelFamily::llama, {.tensor = 2, .sequence = true}};
const SmallTraining kRecomputed{"Llama_f16_recomputed", 1, ModelFamily::llama, {}, DType::f16, true,
                                RecomputeMode::full};
const SmallTraining kWithoutMasters{"Gpt2_without_masters", 1, ModelFamily::gpt2, {}, DType::bf16, false};
const SmallTraining kMuon{"Gpt2_data2_zero2_muon", 2,           ModelFamily::gpt2,
                          {.zero_stage = 2},       DType::f32,  true,
                          RecomputeMode::none,     muon_rules()};

INSTANTIATE_TEST_SUITE_P(
    Dense, SteadyStep,
    testing::Values(
        SmallTraining{"Gpt2", 1, ModelFamily::gpt2},
        SmallTraining{"Llama_bf16", 1, ModelFamily::llama, {}, DType::bf16}, kRecomputed, kWithoutMasters,
        SmallTraining{"Gpt2_data2_zero1", 2, ModelFamily::gpt2, {.zero_stage = 1}}, kSequence,
        SmallTraining{
            "Gpt2_pipeline2", 2, ModelFamily::gpt2, {.pipeline = 2, .schedule = ScheduleKind::one_f_one_b}}),
    [](const auto& test_info) { return test_info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Dense, StepGraphOverNccl,
    testing::Values(SmallTraining{"Gpt2_data2", 2, ModelFamily::gpt2},
                    SmallTraining{"Gpt2_data2_zero2", 2, ModelFamily::gpt2, {.zero_stage = 2}},
                    SmallTraining{
                        "Llama_data2_zero3_bf16", 2, ModelFamily::llama, {.zero_stage = 3}, DType::bf16},
                    SmallTraining{"Gpt2_data2_tensor2", 4, ModelFamily::gpt2, {.tensor = 2}}, kSequence,
                    kMuon, SmallTraining{"Llama_context2", 2, ModelFamily::llama, {.context = 2}}),
    [](const auto& test_info) { return test_info.param.name; });

/// The counter counts.
TEST(SteadyStep, ReadingAtOnceWaits) {
  Context ctx(test_device());
  const Tensor t = Tensor::empty(ctx, {3}, DType::f32);
  counts() = {};
  (void)ops::to_host<float>(ctx, t);
  EXPECT_EQ(counts().waits, 2) << "a copy to pageable memory, and the stream";
  (void)Tensor::empty(ctx, {1 << 20}, DType::f32);
  EXPECT_EQ(counts().memory_calls, 1);
}

}  // namespace
}  // namespace trireme::test
