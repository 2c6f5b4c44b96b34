// trireme verify finds no difference where there is none, and names the place where there is one.
#include "launch/verify/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/verify/layout_trace.h"
#include "launch/verify/small_model.h"
#include "models/config/presets.h"
#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

RunConfig tiny_run(const ParallelPlan& plan) {
  RunConfig config;
  config.model.vocab_size = 37;
  config.model.num_layers = 3;
  config.model.hidden_size = 24;
  config.model.num_heads = config.model.num_kv_heads = 4;
  config.model.ffn_size = 40;
  config.model.max_positions = 8;
  config.train.seq_len = 8;
  config.train.micro_batch = 1;
  config.train.global_batch = 4;
  config.train.steps = 3;
  config.run.threads = 1;
  config.parallel = plan;
  return config;
}

LayoutRecord record(const RunConfig& config, int disturbed_rank = -1, StageObserver* disturber = nullptr) {
  LayoutRecord first;
  run_thread_ranks(config.parallel.world_size(), [&](Communicator& world) {
    LayoutRecord mine =
        record_layout(world, config, {}, world.rank() == disturbed_rank ? disturber : nullptr);
    if (world.rank() == 0) first = std::move(mine);
  });
  return first;
}

// Changes half of what a layer gives on, once.
class Disturber final : public StageObserver {
 public:
  Disturber(std::string layer, int64_t micro_batch, bool forward)
      : layer_(std::move(layer)), micro_batch_(micro_batch), forward_(forward) {}
  void enter(int64_t index, const MicroBatch&, int) override { index_ = index; }
  void after_forward(Context&, const ObservedLayer& layer, const Tensor& y) override {
    if (forward_) disturb(layer, y);
  }
  void after_backward_input(Context&, const ObservedLayer& layer, const Tensor& dx) override {
    if (!forward_) disturb(layer, dx);
  }

 private:
  void disturb(const ObservedLayer& layer, const Tensor& t) {
    if (layer.name != layer_ || index_ != micro_batch_ || done_) return;
    for (int64_t i = 0; i < t.numel() / 2; ++i) t.data<float>()[i] *= 1.01f;
    done_ = true;
  }
  std::string layer_;
  int64_t micro_batch_, index_ = -1;
  bool forward_, done_ = false;
};

TEST(Verify, LayoutsThatFollowHaveNoFaults) {
  for (const ParallelPlan& plan :
       {ParallelPlan{.data = 2, .zero_stage = 3}, ParallelPlan{.data = 1, .tensor = 2, .sequence = true},
        ParallelPlan{.data = 1, .context = 2},
        ParallelPlan{.data = 1, .pipeline = 2, .schedule = "interleaved", .virtual_stages = 2}}) {
    const RunConfig config = tiny_run(plan);
    const LayoutDifference d = compare(record(config), record_one_rank(config), config);
    EXPECT_THAT(d.faults, IsEmpty());
    ASSERT_EQ(d.steps.size(), 3u);
    for (const StepDifference& step : d.steps) EXPECT_FALSE(step.trace);
    EXPECT_FALSE(d.weights.tensor.empty());
  }
}

/// The most bytes of activations that a rank keeps.
class ActivationMeter final : public StageObserver {
 public:
  void after_forward(Context& ctx, const ObservedLayer&, const Tensor&) override {
    const auto usage = ctx.allocator().stats().by_category;
    most = std::max(most, usage[static_cast<size_t>(MemoryCategory::activations)].current);
  }
  int64_t most = 0;
};

TEST(Verify, TheLayoutRecomputesAsTheRunDoesAndOneRankKeepsAll) {
  RunConfig config = tiny_run({.data = 2});
  ActivationMeter keeping, recomputing;
  record(config, 1, &keeping);
  config.train.recomputation = {.mode = RecomputeMode::full};
  const LayoutRecord layout = record(config, 1, &recomputing);
  EXPECT_LT(recomputing.most, keeping.most / 2);
  EXPECT_THAT(compare(layout, record_one_rank(config), config).faults, IsEmpty());
}

TEST(Verify, RoutersAreJitteredAsInTraining) {
  RunConfig config = tiny_run({.data = 2, .tensor = 2, .expert = 2, .sequence = true});
  config.model.init_std = 0.2;
  config.model.moe = {.num_experts = 4, .jitter = 0.1};
  const LayoutRecord one = record_one_rank(config);
  EXPECT_THAT(compare(record(config), one, config).faults, IsEmpty());
  config.model.moe.jitter = 0;
  EXPECT_NE(record_one_rank(config).steps[0].loss, one.steps[0].loss);
}

TEST(Verify, AForwardPassThatDiffersIsNamed) {
  const RunConfig config = tiny_run({.data = 2, .pipeline = 2});  // layers.2 is on the second stage
  Disturber disturber("layers.2", 1, true);
  const LayoutDifference d = compare(record(config, 3, &disturber), record_one_rank(config), config);
  // The second micro-batch of the second replica is the fourth of the step.
  EXPECT_THAT(d.faults,
              testing::Contains(HasSubstr("step 1: what a layer gives on differs first at micro-batch 3, "
                                          "forward, layers.2")));
}

TEST(Verify, ABackwardPassThatDiffersIsNamedWithTheFirstGradient) {
  const RunConfig config = tiny_run({.data = 1, .tensor = 2});
  Disturber disturber("layers.2", 2, false);
  const LayoutDifference d = compare(record(config, 0, &disturber), record_one_rank(config), config);
  EXPECT_THAT(d.faults, testing::Contains(HasSubstr("differs first at micro-batch 2, backward, layers.2")));
  // What comes out of layers.2 is wrong, its own gradients are right.
  EXPECT_THAT(d.faults, testing::Contains(AllOf(HasSubstr("first gradient"), HasSubstr("layers.1."))));
}

TEST(Verify, MissingAndNonFiniteTensorsDiffer) {
  const RunConfig config = tiny_run({.data = 1});
  const LayoutRecord one = record_one_rank(config);
  LayoutRecord other = one;
  other.steps[0].gradients.erase("layers.1.ffn.up.weight");
  EXPECT_THAT(compare(other, one, config).faults.front(), HasSubstr("a gradient differs by inf"));
  other = one;
  other.weights.at("final_norm.gain")[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(compare(other, one, config).faults, ElementsAre(HasSubstr("final_norm.gain")));
}

TEST(Verify, TheCommandThrowsWhereTheLayoutPartsAndOnlyThere) {
  const auto self = make_self_communicator();
  std::FILE* out = std::tmpfile();
  RunConfig config = tiny_run({.data = 2});
  EXPECT_NO_THROW(verify(config, *self, {}, out));
  EXPECT_GT(std::ftell(out), 100);
  std::fclose(out);
}

TEST(Verify, TracePlacesFollowTheOrderOfExecution) {
  EXPECT_EQ(trace_place(0, 2), "micro-batch 0, forward, embedding");
  EXPECT_EQ(trace_place(3, 2), "micro-batch 0, forward, head");
  EXPECT_EQ(trace_place(4, 2), "micro-batch 0, backward, head");
  EXPECT_EQ(trace_place(7, 2), "micro-batch 0, backward, embedding");
  EXPECT_EQ(trace_place(10, 2), "micro-batch 1, forward, layers.1");
}

TEST(SmallRun, KeepsWhatDecidesWhetherALayoutFits) {
  RunConfig config;
  config.model = find_preset("llama3-8b")->config;
  config.model.vocab_size = 128256;
  config.train.seq_len = 8192;
  config.train.micro_batch = 4;
  config.parallel = {.data = 2, .tensor = 8, .pipeline = 4, .context = 2, .sequence = true};
  config.train.global_batch = 64;
  const RunConfig small = small_run(config);
  EXPECT_EQ(small.model.num_heads, 32);
  EXPECT_EQ(small.model.num_kv_heads, 8);
  EXPECT_EQ(small.model.head_dim(), 8);
  EXPECT_EQ(small.model.num_layers, 4);
  EXPECT_EQ(small.model.vocab_size % 64, 128256 % 64);
  EXPECT_LT(small.model.vocab_size, 2048);
  EXPECT_EQ(small.train.seq_len % 32, 0);
  EXPECT_EQ(small.accumulation(), 8);
}

TEST(SmallRun, LeavesASmallModelAlone) {
  const RunConfig config = tiny_run({.data = 2});
  EXPECT_EQ(small_run(config).model.ffn_size, 40);
  EXPECT_EQ(small_run(config).model.vocab_size, 37);
  EXPECT_EQ(small_run(config).train.seq_len, 8);
}

}  // namespace
}  // namespace trireme
