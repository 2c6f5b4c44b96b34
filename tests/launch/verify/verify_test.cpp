// trireme verify finds no difference where there is none, and names the place where there is one.
#include "launch/verify/verify.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/verify/layout_trace.h"
#include "launch/verify/small_model.h"
#include "models/families/presets.h"
#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/ops/host_copy.h"
#include "tests/launch/verify/tiny_run.h"

namespace trireme::launch {
namespace {

using test::tiny_run;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

/// A report of a run whose rank `disturbed_rank` has `hooks`.
VerifyReport verified(const RunConfig& config, int disturbed_rank = -1, RunHooks* hooks = nullptr) {
  VerifyReport first;
  run_thread_ranks(config.parallel.world_size(), [&](Communicator& world) {
    VerifyReport mine = verify_layout(world, config, {}, world.rank() == disturbed_rank ? hooks : nullptr);
    if (world.rank() == 0) first = std::move(mine);
  });
  return first;
}

// Changes half of what a layer gives on, once.
class Disturber final : public RunHooks, public StageObserver {
 public:
  Disturber(std::string layer, int64_t micro_batch, bool forward)
      : layer_(std::move(layer)), micro_batch_(micro_batch), forward_(forward) {}
  void made(Context&, Transformer& model) override {
    for (Stage& stage : model.part().chunks) stage.observe(*this);
  }
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

// What is pruned from the first step on, and after the first update.
TEST(Verify, PrunedLayoutsHaveNoFaults) {
  for (const ParallelPlan& plan :
       {ParallelPlan{.data = 2, .zero_stage = 3}, ParallelPlan{.data = 1, .tensor = 2}}) {
    RunConfig config = tiny_run(plan);
    for (const PruneUnit unit : {PruneUnit::weight, PruneUnit::neuron}) {
      config.prune = {
          .sparsity = 0.5, .unit = unit, .end_step = unit == PruneUnit::weight ? 0 : 2, .every = 1};
      config.optimizer.kind = unit == PruneUnit::weight ? OptimizerKind::adamw : OptimizerKind::muon;
      const VerifyReport report = verified(config);
      EXPECT_THAT(report.errors, IsEmpty());
      EXPECT_EQ(report.steps.size(), 3u);
    }
  }
}

TEST(Verify, LayoutsThatFollowHaveNoFaults) {
  for (const ParallelPlan& plan :
       {ParallelPlan{.data = 2, .zero_stage = 3}, ParallelPlan{.data = 1, .tensor = 2, .sequence = true},
        ParallelPlan{.data = 1, .context = 2},
        ParallelPlan{.data = 1, .pipeline = 2, .schedule = ScheduleKind::interleaved, .virtual_stages = 2}}) {
    const VerifyReport report = verified(tiny_run(plan));
    EXPECT_THAT(report.errors, IsEmpty());
    ASSERT_EQ(report.steps.size(), 3u);
    for (const StepDifference& step : report.steps) {
      EXPECT_LT(step.passes.bound, 1e-4);
      EXPECT_FALSE(step.gradients.where.empty());
    }
  }
}

/// The most bytes of activations that a rank keeps.
class ActivationMeter final : public RunHooks, public StageObserver {
 public:
  void made(Context&, Transformer& model) override {
    for (Stage& stage : model.part().chunks) stage.observe(*this);
  }
  void after_forward(Context& ctx, const ObservedLayer&, const Tensor&) override {
    const auto usage = ctx.allocator().stats().by_category;
    most = std::max(most, usage[static_cast<size_t>(MemoryCategory::activations)].current);
  }
  int64_t most = 0;
};

TEST(Verify, TheLayoutRecomputesAsTheRunDoesAndOneRankKeepsAll) {
  RunConfig config = tiny_run({.data = 2});
  ActivationMeter keeping, recomputing;
  verified(config, 1, &keeping);
  config.train.recomputation = {.mode = RecomputeMode::full};
  EXPECT_THAT(verified(config, 1, &recomputing).errors, IsEmpty());
  EXPECT_LT(recomputing.most, keeping.most / 2);
}

TEST(Verify, RoutersAreJitteredAsInTraining) {
  RunConfig config = tiny_run({.data = 2, .tensor = 2, .expert = 2, .sequence = true});
  config.model.init_std = 0.2;
  config.model.moe = {.num_experts = 4, .jitter = 0.1};
  const VerifyReport jittered = verified(config);
  EXPECT_THAT(jittered.errors, IsEmpty());
  config.model.moe.jitter = 0;
  EXPECT_NE(verified(config).losses, jittered.losses);
}

TEST(Verify, LayersThatShareWeightsFollowAndAreNamed) {
  RunConfig config = tiny_run({.data = 2, .pipeline = 2, .zero_stage = 2});
  config.model.num_layers = 5;
  config.model.share = 2;
  EXPECT_THAT(verified(config).errors, IsEmpty());
  Disturber disturber("layers.4", 0, true);  // on the second stage, as layers.2 is
  const VerifyReport report = verified(config, 3, &disturber);
  ASSERT_FALSE(report.errors.empty());
  EXPECT_THAT(report.errors.front(), HasSubstr("layers.4"));
}

TEST(Verify, AForwardPassThatDiffersIsNamed) {
  const RunConfig config = tiny_run({.data = 2, .pipeline = 2});  // layers.2 is on the second stage
  Disturber disturber("layers.2", 1, true);
  const VerifyReport report = verified(config, 3, &disturber);
  // The second micro-batch of the second replica is the fourth of the step.
  ASSERT_FALSE(report.errors.empty());
  EXPECT_THAT(report.errors.front(),
              HasSubstr("step 1: the output of layers.2, in the forward pass of micro-batch 3 differs"));
}

TEST(Verify, ABackwardPassThatDiffersIsNamedWithTheFirstGradient) {
  const RunConfig config = tiny_run({.data = 1, .tensor = 2});
  Disturber disturber("layers.2", 2, false);
  const VerifyReport report = verified(config, 0, &disturber);
  ASSERT_FALSE(report.errors.empty());
  EXPECT_THAT(report.errors.front(), HasSubstr("layers.2, in the backward pass of micro-batch 2 differs"));
  // What comes out of layers.2 is wrong, its own gradients are right.
  EXPECT_THAT(report.errors,
              testing::Contains(AllOf(HasSubstr("the first in the backward pass"), HasSubstr("layers.1."))));
}

// Of a run of one rank, and of the same with something changed.
std::vector<std::string> errors_of(const RunConfig& config,
                                   const std::function<void(RecordedStep&)>& change) {
  const auto self = make_self_communicator();
  RecordedRun run(*self, config, {});
  RecordedStep step = run.run_passes();
  const ReferenceStep reference{step, step, {}};
  change(step);
  return compare_step(step, reference, config).errors;
}

TEST(Verify, MissingAndNonFiniteTensorsDiffer) {
  const RunConfig config = tiny_run({.data = 1});
  EXPECT_THAT(errors_of(config, [](RecordedStep&) {}), IsEmpty());
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(errors_of(config, [](RecordedStep& s) { s.gradients.erase("layers.1.ffn.up.weight"); }),
              testing::Contains(AllOf(HasSubstr("layers.1.ffn.up.weight"), HasSubstr("differs by inf"))));
  EXPECT_THAT(errors_of(config, [&](RecordedStep& s) { s.gradients.at("final_norm.gain")[0] = kNan; }),
              testing::Contains(AllOf(HasSubstr("final_norm.gain"), HasSubstr("differs by inf"))));
  EXPECT_THAT(errors_of(config, [&](RecordedStep& s) { s.loss = std::numeric_limits<double>::quiet_NaN(); }),
              testing::Contains(HasSubstr("the loss differs")));
  EXPECT_THAT(errors_of(config, [&](RecordedStep& s) { s.grad_norm *= 1.001; }),
              testing::Contains(HasSubstr("the reported gradient norm is")));
  EXPECT_THAT(errors_of(config, [&](RecordedStep& s) { s.trace.unlike = {1}; }),
              testing::Contains(
                  AllOf(HasSubstr("layers.0"), HasSubstr("differs between the tensor-parallel ranks"))));
}

TEST(Verify, WhatIsFiniteOnNeitherSideEndsTheComparison) {
  RunConfig config = tiny_run({.data = 2});
  config.optimizer.lr = 1e30;
  const VerifyReport report = verified(config);
  EXPECT_THAT(report.errors, IsEmpty());
  ASSERT_EQ(report.steps.size(), 2u);
  EXPECT_FALSE(report.steps.back().is_finite);
}

TEST(Verify, TheCommandThrowsWhereTheLayoutPartsAndOnlyThere) {
  const auto self = make_self_communicator();
  std::FILE* out = std::tmpfile();
  const RunConfig config = tiny_run({.data = 2});
  EXPECT_NO_THROW(verify(config, *self, {}, out));
  EXPECT_GT(std::ftell(out), 100);
  Disturber disturber("layers.1", 0, true);
  EXPECT_THAT([&] { verify(tiny_run({.data = 1}), *self, {}, out, &disturber); },
              testing::ThrowsMessage<UserError>(HasSubstr("step 1: the output of layers.1, in the forward")));
  std::fclose(out);
}

TEST(Verify, ARunOf16BitsIsVerifiedInF32First) {
  RunConfig config = tiny_run({.data = 2});
  EXPECT_EQ(verified_runs(config).size(), 1u);
  config.train.precision = DType::bf16;
  config.train.master = false;
  config.parallel.gradient_dtype = DType::bf16;
  const auto runs = verified_runs(config);
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].train.precision, DType::f32);
  EXPECT_TRUE(runs[0].train.master);
  EXPECT_EQ(runs[0].parallel.gradient_dtype, DType::f32);
  EXPECT_EQ(runs[1], config);
}

/// Gives one rank's copy of a weight another bit.
class BitOfACopy final : public RunHooks {
 public:
  void after_update(int64_t step, Context& ctx, Transformer& model) override {
    if (step != 1) return;
    const ParameterView& view = model.storage().parameters().back();
    std::vector<float> values = ops::to_host<float>(ctx, view.master);
    values[0] = std::nextafter(values[0], 1e9f);
    ops::write(ctx, values, view.master);
    name = view.parameter->name;
  }
  std::string name;
};

TEST(Verify, CopiesThatDifferInABitAreNamedWithTheirRanks) {
  BitOfACopy bit;
  const VerifyReport report = verified(tiny_run({.data = 2, .tensor = 2}), 2, &bit);
  ASSERT_FALSE(report.errors.empty());
  EXPECT_THAT(report.errors.front(),
              AllOf(HasSubstr("step 2: "), HasSubstr("ranks 0 and 2 have different"), HasSubstr(bit.name)));
}

TEST(Verify, ChoicesThatRoundingExplainsAreFollowedAndOthersAreFaults) {
  RunConfig config = tiny_run({.data = 1});
  config.model.moe = {.num_experts = 4};
  const auto self = make_self_communicator();
  RecordedRun run(*self, config, {});
  const NamedTensors weights = run.weights();
  const RecordedStep step = run.run_passes();
  RecordedStep told = step;
  ChoiceTable& other = told.choices;
  const auto chosen = std::ranges::find_if(other, [](int32_t e) { return e != 0; });
  const int32_t partner = chosen[1];
  while (*chosen == step.choices[static_cast<size_t>(chosen - other.begin())] || *chosen == partner)
    *chosen = *chosen % 4 + 1;
  const ReferenceStep reference = Reference(config, {}).run(weights, run.biases(), told);
  const auto in_pairs = [](ChoiceTable table) {
    for (size_t i = 0; i + 1 < table.size(); i += 2) std::sort(&table[i], &table[i] + 2);
    return table;
  };
  EXPECT_EQ(in_pairs(reference.one.choices), in_pairs(other));
  EXPECT_EQ(reference.one.differences.num_other, 1);
  EXPECT_GT(reference.one.differences.widest, 0);
  // It went where it was told, and what it would have chosen by is far apart.
  EXPECT_THAT(compare_step(reference.one, reference, config).errors,
              testing::Contains(HasSubstr("is routed to another expert")));
}

std::string text_of(const TracePlace& place) {
  return fmt::format("{} {} {}", place.micro_batch, place.is_forward, place.layer);
}

TEST(Verify, TracePlacesFollowTheOrderOfExecution) {
  EXPECT_EQ(text_of(trace_place(0, 2)), "0 true embedding");
  EXPECT_EQ(text_of(trace_place(3, 2)), "0 true head");
  EXPECT_EQ(text_of(trace_place(4, 2)), "0 false head");
  EXPECT_EQ(text_of(trace_place(7, 2)), "0 false embedding");
  EXPECT_EQ(text_of(trace_place(10, 2)), "1 true layers.1");
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

TEST(SmallRun, KeepsLayersThatShareWeights) {
  RunConfig config = tiny_run({.data = 1});
  config.model.num_layers = 12;
  config.model.share = 4;
  EXPECT_EQ(small_run(config).model.num_layers, 5);
  config.parallel.pipeline = 8;
  EXPECT_EQ(small_run(config).model.num_layers, 8);
}

TEST(SmallRun, LeavesASmallModelAlone) {
  const RunConfig config = tiny_run({.data = 2});
  EXPECT_EQ(small_run(config).model.ffn_size, 40);
  EXPECT_EQ(small_run(config).model.vocab_size, 37);
  EXPECT_EQ(small_run(config).train.seq_len, 8);
}

}  // namespace
}  // namespace trireme::launch
