// A steady step of a dense model: the host takes no memory and waits for nothing but, in the end, the numbers
// of the step before. As a CUDA graph it computes the same bits.
#include <functional>
#include <optional>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/transformer/transformer.h"
#include "runtime/comm/nccl/nccl_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/ops/cross_entropy.h"
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

// How many targets count differs from step to step.
MicroBatch batch_of(Context& ctx, const ParallelContext& parallel, int64_t number) {
  std::vector<int32_t> tokens(17);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>((7 * i + number) % 37);
  std::vector<int32_t> targets(tokens.begin() + 1, tokens.end());
  for (int64_t i = 0; i < number % 4; ++i) targets[static_cast<size_t>(3 * i + 1)] = ops::kIgnoredTarget;
  return make_micro_batch(ctx, 2, 8, std::span(tokens).first(16), targets, ContextParallel(parallel).share());
}

enum class Way { at_once, late, as_graph };

class Training {
 public:
  Training(Communicator& world, const Case& c, Way way)
      : plan_(resolved(c.plan, world.size())), parallel_(world, plan_), way_(way) {
    TrainingStepOptions options;
    options.bucket_bytes = 16 << 10;
    options.zero_stage = plan_.zero_stage;
    options.master = c.master;
    options.use_graph = way == Way::as_graph;
    model_.emplace(ctx_, parallel_, tiny_model(c.family), 8, c.precision, options.division(parallel_),
                   Recomputation{.mode = c.recomputation});
    model_->storage().initialize(ctx_, 7);
    step_.emplace(ctx_, parallel_, model_->part(), options);
  }

  /// Each step with another learning rate.
  void train(int64_t num_steps, int64_t num_batches = 2) {
    for (int64_t i = 0; i < num_steps; ++i, ++steps_) {
      std::vector<MicroBatch> batches;
      for (int64_t m = 0; m < num_batches; ++m) batches.push_back(batch_of(ctx_, parallel_, 3 * steps_ + m));
      const double lr = 1e-2 / static_cast<double>(steps_ + 1);
      if (way_ == Way::at_once) {
        read(step_->measure(batches, 1));
        step_->update(lr);
        continue;
      }
      StepNumbers now = step_->step(batches, 1, lr);
      if (before_) read(*before_);
      before_ = std::move(now);
    }
  }
  void evaluate() {
    MicroBatch batch = batch_of(ctx_, parallel_, 100);
    evaluations_.push_back(step_->evaluate({&batch, 1}).mean_loss());
  }
  /// Losses and norms of all steps, losses of evaluations, and the weights of this rank.
  std::vector<double> results() {
    if (before_) read(*std::exchange(before_, std::nullopt));
    std::vector<double> all = numbers_;
    all.insert(all.end(), evaluations_.begin(), evaluations_.end());
    for (size_t chunk = 0; chunk < model_->part().chunks.size(); ++chunk) {
      step_->for_each_parameter(chunk, ParameterState::master, [&](const Parameter&, const Tensor& t) {
        const auto values = ops::to_host_f32(ctx_, t);
        all.insert(all.end(), values.begin(), values.end());
      });
    }
    return all;
  }

 private:
  static ParallelPlan resolved(ParallelPlan plan, int world_size) {
    EXPECT_THAT(resolve(plan, world_size), testing::IsEmpty());
    return plan;
  }
  void read(const StepNumbers& n) {
    numbers_.push_back(n.totals().mean_loss());
    numbers_.push_back(n.gradient_norm());
  }

  ParallelPlan plan_;
  ParallelContext parallel_;
  Way way_;
  Context ctx_{test_device()};
  std::optional<Transformer> model_;
  std::optional<TrainingStep> step_;
  int64_t steps_ = 0;
  std::optional<StepNumbers> before_;
  std::vector<double> numbers_, evaluations_;
};

// A graph is captured in the second step. Evaluating takes other memory, which the next step may take over.
std::vector<double> results_of(Communicator& world, const Case& c, Way way) {
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
  run_thread_ranks(num_ranks, [&](Communicator& threads) {
    const auto world = make_nccl_world(threads.split(0, threads.rank(), "world"), test_device());
    body(*world);
  });
}

TEST_P(SteadyStep, WaitsForNothing) {
  on_ranks(GetParam().ranks, [](Communicator& world) {
    const auto late = results_of(world, GetParam(), Way::late);
    EXPECT_EQ(late, results_of(world, GetParam(), Way::at_once)) << "numbers read late are the same";
    EXPECT_GT(late[0], 1);
  });
}

using StepAsGraph = SteadyStep;

TEST_P(StepAsGraph, ComputesTheSameBits) {
  on_ranks(GetParam().ranks, [](Communicator& world) {
    EXPECT_EQ(results_of(world, GetParam(), Way::as_graph), results_of(world, GetParam(), Way::at_once));
  });
}

/// Other sizes are captured anew, and so are the first ones when they come back.
TEST(StepAsGraph, FollowsTheSizesOfItsBatches) {
  on_ranks(2, [](Communicator& world) {
    const auto run = [&](Way way) {
      Training training(world, {"", 2, ModelFamily::gpt2, {.zero_stage = 1}}, way);
      for (const int64_t num_batches : {2, 1, 2}) training.train(4, num_batches);
      return training.results();
    };
    EXPECT_EQ(run(Way::as_graph), run(Way::at_once));
  });
}

const Case kSequence{"Llama_tensor2_sequence", 2, ModelFamily::llama, {.tensor = 2, .sequence = true}};
const Case kRecomputed{"Llama_f16_recomputed", 1, ModelFamily::llama, {}, DType::f16, true,
                       RecomputeMode::full};
const Case kWithoutMasters{"Gpt2_without_masters", 1, ModelFamily::gpt2, {}, DType::bf16, false};

INSTANTIATE_TEST_SUITE_P(
    Dense, SteadyStep,
    testing::Values(Case{"Gpt2", 1, ModelFamily::gpt2},
                    Case{"Llama_bf16", 1, ModelFamily::llama, {}, DType::bf16}, kRecomputed, kWithoutMasters,
                    Case{"Gpt2_data2_zero1", 2, ModelFamily::gpt2, {.zero_stage = 1}}, kSequence,
                    Case{"Gpt2_pipeline2", 2, ModelFamily::gpt2, {.pipeline = 2, .schedule = "1f1b"}}),
    [](const auto& test_info) { return test_info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Dense, StepAsGraph,
    testing::Values(Case{"Gpt2", 1, ModelFamily::gpt2}, kRecomputed, kWithoutMasters,
                    Case{"Gpt2_data2", 2, ModelFamily::gpt2},
                    Case{"Gpt2_data2_zero2", 2, ModelFamily::gpt2, {.zero_stage = 2}},
                    Case{"Llama_data2_zero3_bf16", 2, ModelFamily::llama, {.zero_stage = 3}, DType::bf16},
                    Case{"Gpt2_data2_tensor2", 4, ModelFamily::gpt2, {.tensor = 2}}, kSequence,
                    Case{"Llama_context2", 2, ModelFamily::llama, {.context = 2}}),
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
