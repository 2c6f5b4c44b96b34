// A steady step of a dense model: the host takes no memory and waits for nothing but, in the end, the numbers
// of the step before.
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/transformer/transformer.h"
#include "runtime/comm/nccl/nccl_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/cuda_on_host/device_memory.h"
#include "tests/support/layout_run.h"
#include "tests/support/test_device.h"

namespace trireme::test {
namespace {

using cuda_on_host::counts;

struct Case {
  std::string name;
  int ranks;
  ModelFamily family;
  ParallelPlan plan = {};
  DType precision = DType::f32;
  bool master = true;
  RecomputeMode recomputation = RecomputeMode::none;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class SteadyStep : public testing::TestWithParam<Case> {};

MicroBatch batch_of(Context& ctx, const ParallelContext& parallel, int64_t step) {
  std::vector<int32_t> tokens(17);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>((7 * i + step) % 37);
  const std::span<const int32_t> all(tokens);
  return make_micro_batch(ctx, 2, 8, all.first(16), all.last(16), ContextParallel(parallel).share());
}

// Losses and norms of five steps; of the last three the host's waits are counted.
std::vector<double> train(Communicator& world, const Case& c, bool runs_ahead) {
  ParallelPlan plan = c.plan;
  EXPECT_THAT(resolve(plan, world.size()), testing::IsEmpty());
  const ParallelContext parallel(world, plan);
  Context ctx(test_device());
  TrainingStepOptions options;
  options.bucket_bytes = 16 << 10;
  options.zero_stage = plan.zero_stage;
  options.master = c.master;
  Transformer model(ctx, parallel, tiny_model(c.family), 8, c.precision, options.division(parallel),
                    {.mode = c.recomputation});
  model.storage().initialize(ctx, 7);
  TrainingStep step(ctx, parallel, model.part(), options);
  std::vector<double> numbers;
  std::optional<StepNumbers> before;
  const auto read = [&](const StepNumbers& n) {
    numbers.push_back(n.totals().mean_loss());
    numbers.push_back(n.gradient_norm());
  };
  for (int64_t s = 0; s < 5; ++s) {
    if (s == 2) counts() = {};
    std::vector<MicroBatch> batches;
    for (int64_t m = 0; m < 2; ++m) batches.push_back(batch_of(ctx, parallel, 2 * s + m));
    std::optional<StepNumbers> now = step.measure(batches, 1);
    if (!runs_ahead) read(*now);
    step.update(1e-3);
    if (runs_ahead && before) read(*before);
    before = std::move(now);
  }
  if (runs_ahead) {
    EXPECT_EQ(counts().waits, 0);
    // How long a message holds its memory differs from step to step.
    if (plan.pipeline == 1) {
      EXPECT_EQ(counts().memory_calls, 0);
    }
    EXPECT_EQ(counts().event_waits, 3 * 2) << "for the totals and the norm of each step before";
    read(*before);
  }
  return numbers;
}

TEST_P(SteadyStep, WaitsForNothing) {
  run_thread_ranks(GetParam().ranks, [](Communicator& threads) {
    const auto world = make_nccl_world(threads.split(0, threads.rank(), "world"), test_device());
    const auto late = train(*world, GetParam(), true);
    EXPECT_EQ(late, train(*world, GetParam(), false)) << "numbers read late are the same";
    EXPECT_GT(late[0], 1);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Dense, SteadyStep,
    testing::Values(
        Case{"Gpt2", 1, ModelFamily::gpt2}, Case{"Llama_bf16", 1, ModelFamily::llama, {}, DType::bf16},
        Case{"Llama_f16_recomputed", 1, ModelFamily::llama, {}, DType::f16, true, RecomputeMode::full},
        Case{"Gpt2_without_masters", 1, ModelFamily::gpt2, {}, DType::bf16, false},
        Case{"Gpt2_data2_zero1", 2, ModelFamily::gpt2, {.zero_stage = 1}},
        Case{"Llama_tensor2_sequence", 2, ModelFamily::llama, {.tensor = 2, .sequence = true}},
        Case{"Gpt2_pipeline2", 2, ModelFamily::gpt2, {.pipeline = 2, .schedule = "1f1b"}}),
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
