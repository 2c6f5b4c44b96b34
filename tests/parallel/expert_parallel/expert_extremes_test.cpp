// The mixture where it is most uneven: experts without tokens, ranks without rows, every expert chosen.
#include <cmath>
#include <map>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/transformer/transformer.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "parallel/expert_parallel/token_exchange.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/ops/elementwise.h"
#include "tests/support/expect_error.h"
#include "tests/support/layers_of.h"
#include "tests/support/layout_run.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

constexpr int64_t kHidden = 6, kExperts = 4;

ModelConfig config_of(int64_t k) {
  ModelConfig c;
  apply_family(c, ModelFamily::llama);
  c.hidden_size = kHidden;
  c.num_layers = 1;
  c.ffn_size = 5;
  c.moe.num_experts = kExperts;
  c.moe.experts_per_token = k;
  c.moe.normalize_gates = k > 1;
  return c;
}

struct Passes {
  std::vector<float> y, dx;                             // of all rows
  std::map<std::string, std::vector<float>> gradients;  // of all experts and the router
  std::vector<double> chosen;
};

// One forward and backward pass over `rows` rows, a sequence of each rank's share. The router's weights are
// `router_std` wide; 0 makes all scores equal, and every token goes to the first k experts.
Passes run(Communicator& world, const ModelConfig& config, int64_t rows, float router_std) {
  Context ctx;
  const auto self = make_self_communicator();
  MoeFeedForward layer = LayersOf(config, *self, world).mixture();
  std::vector<ParameterBlock*> blocks;
  layer.collect(blocks);
  ParameterStorage storage(ctx, blocks, DType::f32);
  storage.initialize(ctx, 3);
  for (const ParameterView& view : storage.parameters()) {
    ops::scale(ctx, view.master, view.parameter->expert >= 0 ? 20.0f : router_std / 0.02f);
  }
  const int64_t own = rows / world.size(), begin = own * world.rank();
  const std::vector<int32_t> ids(static_cast<size_t>(own), 1);
  MicroBatch mb = make_micro_batch(ctx, 1, own, ids, ids);
  double loss = 0;
  mb.loss_sum = Tensor::borrow(&loss, {1}, DType::f64);
  const Tensor x = random_tensor(ctx, {rows, kHidden}, DType::f32, 1),
               dy = random_tensor(ctx, {rows, kHidden}, DType::f32, 2);
  Saved saved;
  const Tensor y = layer.forward(ctx, mb, x.slice(begin, begin + own), saved);
  const Tensor dx = layer.backward_input(ctx, dy.slice(begin, begin + own), saved);
  layer.backward_weight(ctx, saved);

  const auto gathered = [&](const Tensor& t) {
    const Tensor all = Tensor::empty(ctx, {rows, kHidden}, DType::f32);
    world.all_gather(ctx.stream(), t, all);
    return to_vector(all);
  };
  Passes passes{gathered(y), gathered(dx), {}, layer.balance().sums.chosen};
  world.all_reduce(ctx.stream(),
                   Tensor::borrow(passes.chosen.data(), {std::ssize(passes.chosen)}, DType::f64));
  for (const ParameterView& view : storage.parameters()) {
    if (view.parameter->expert < 0) world.all_reduce(ctx.stream(), view.gradient);
    passes.gradients[view.parameter->name] = to_vector(view.gradient);
  }
  return passes;
}

void expect_near(const std::vector<float>& a, const std::vector<float>& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_TRUE(std::isfinite(a[i])) << what;
    ASSERT_NEAR(a[i], b[i], 1e-5f * (1 + std::abs(b[i]))) << what << ", element " << i;
  }
}

Passes expect_equal_on_ranks(const ModelConfig& config, int64_t rows, float router_std,
                             std::initializer_list<int> sizes) {
  // Alone each rank's share of the rows is a sequence of its own only where that does not matter.
  const auto self = make_self_communicator();
  ModelConfig unbalanced = config;
  unbalanced.moe.aux_loss = 0;
  const Passes one = run(*self, unbalanced, rows, router_std);
  for (const int size : sizes) {
    run_thread_ranks(size, [&](Communicator& world) {
      const Passes many = run(world, unbalanced, rows, router_std);
      expect_near(many.y, one.y, "y");
      expect_near(many.dx, one.dx, "dx");
      EXPECT_EQ(many.chosen, one.chosen);
      for (const auto& [name, gradient] : many.gradients) expect_near(gradient, one.gradients.at(name), name);
    });
  }
  return one;
}

TEST(ExpertExtremes, AllTokensToOneExpert) {
  const Passes passes = expect_equal_on_ranks(config_of(1), 12, 0.0f, {2, 4});
  EXPECT_EQ(passes.chosen, (std::vector<double>{12, 0, 0, 0}));
  for (const auto& [name, gradient] : passes.gradients) {
    const bool idle =
        name.find("experts.") != std::string::npos && name.find("experts.0") == std::string::npos;
    if (idle) {
      EXPECT_THAT(gradient, testing::Each(0.0f)) << name;
    }
  }
}

TEST(ExpertExtremes, EveryTokenToEveryExpert) {
  const Passes passes = expect_equal_on_ranks(config_of(kExperts), 8, 1.0f, {2, 4});
  EXPECT_EQ(passes.chosen, (std::vector<double>{8, 8, 8, 8}));
}

TEST(ExpertExtremes, OneTokenARankAndRanksWithoutRows) {
  expect_equal_on_ranks(config_of(1), 4, 1.0f, {4});
  const Passes passes = expect_equal_on_ranks(config_of(1), 2, 1.0f, {2});
  EXPECT_EQ(std::accumulate(passes.chosen.begin(), passes.chosen.end(), 0.0), 2.0);
}

// Softmax over one key has no gradient but rounding, of queries and keys.
LayoutResult without_attention_scores(LayoutResult result) {
  for (auto* tensors : {&result.gradients, &result.weights}) {
    std::erase_if(*tensors, [](const auto& entry) {
      return entry.first.find("attention.query") != std::string::npos ||
             entry.first.find("attention.key") != std::string::npos;
    });
  }
  return result;
}

// Four tensor ranks, each of which passes rows of its own, or two that share theirs: some have none.
TEST(ExpertExtremes, FewerTokensThanTensorRanksThatShareThem) {
  for (const int64_t num_tokens : {1, 3}) {
    LayoutRun run;
    run.model = tiny_model(ModelFamily::llama);
    run.model.init_std = 0.2;
    run.model.moe = {.num_experts = 8, .expert_ffn_size = 12, .aux_loss = 0.05, .z_loss = 0.01};
    run.global_batch = run.micro_batch = 1;
    run.seq_len = num_tokens;
    run.steps = 3;
    run.lr = 1e-4;
    const LayoutResult one = without_attention_scores(run_on_one_rank(run));
    run.plan = {.data = 1, .tensor = 4, .expert = 4, .expert_tensor = 1};
    expect_follows(without_attention_scores(run_on_threads(4, run)), one);
    run.plan = {.data = 1, .tensor = 4, .expert = 2, .expert_tensor = 2};
    expect_follows(without_attention_scores(run_on_threads(4, run)), one);
  }
}

TEST(ExpertExtremes, OneTokenAlone) { expect_equal_on_ranks(config_of(2), 1, 1.0f, {1}); }

TEST(ExpertExtremes, ARankWithoutAnyRowTakesPart) {
  run_thread_ranks(2, [](Communicator& world) {
    Context ctx;
    // Rank 0 has three rows for expert 1 (of rank 0) and none for the others; rank 1 has no rows at all.
    const std::vector<int64_t> counts =
        world.rank() == 0 ? std::vector<int64_t>{0, 3, 0, 0} : std::vector<int64_t>{0, 0, 0, 0};
    const auto self = make_self_communicator();
    const TokenExchange exchange(ctx, ExpertParallel(world, *self), counts);
    const Tensor rows = random_tensor(ctx, {exchange.num_sent(), 5}, DType::f32, 1);
    const Tensor there = Tensor::empty(ctx, {exchange.num_received(), rows.dim(1)}, DType::f32);
    exchange.finish_to_experts(ctx, 0, exchange.start_to_experts(ctx, 0, rows, there), there);
    EXPECT_EQ(there.dim(0), world.rank() == 0 ? 3 : 0);
    const Tensor back = Tensor::empty(ctx, rows.shape(), DType::f32);
    exchange.start_from_experts(ctx, 0, there, back)->wait();
    EXPECT_EQ(to_vector(back), to_vector(rows));
  });
}

TEST(TokenExchange, RowsOfAnExpertLieTogetherInTheOrderOfTheirRanks) {
  run_thread_ranks(2, [](Communicator& world) {
    Context ctx;
    const std::vector<int64_t> counts =
        world.rank() == 0 ? std::vector<int64_t>{1, 2, 1, 0} : std::vector<int64_t>{2, 1, 1, 1};
    std::vector<float> values;
    for (size_t e = 0; e < counts.size(); ++e) {
      for (int64_t i = 0; i < counts[e]; ++i)
        values.push_back(static_cast<float>(100 * e) + static_cast<float>(10 * world.rank() + i));
    }
    const Tensor rows = make_tensor(ctx, {std::ssize(values), 1}, DType::f32, values);
    const auto self = make_self_communicator();
    const TokenExchange exchange(ctx, ExpertParallel(world, *self), counts);
    const Tensor there = Tensor::empty(ctx, {exchange.num_received(), rows.dim(1)}, DType::f32);
    exchange.finish_to_experts(ctx, 0, exchange.start_to_experts(ctx, 0, rows, there), there);
    EXPECT_EQ(to_vector(there), world.rank() == 0 ? (std::vector<float>{0, 10, 11, 100, 101, 110})
                                                  : (std::vector<float>{200, 210, 310}));
    const Tensor back = Tensor::empty(ctx, rows.shape(), DType::f32);
    exchange.start_from_experts(ctx, 0, there, back)->wait();
    EXPECT_EQ(to_vector(back), values);
  });
}

TEST(ExpertExtremes, ManyStepsWithDeadExpertsStayFinite) {
  LayoutRun run;
  run.model = tiny_model(ModelFamily::llama);
  run.model.moe.num_experts = 8;
  run.model.moe.experts_per_token = 1;
  run.model.moe.normalize_gates = false;
  run.model.moe.aux_loss = 0;
  run.global_batch = run.micro_batch = 1;  // three tokens and eight experts: most have none
  run.seq_len = 3;
  run.steps = 30;
  run.lr = 1e-2;
  run.plan.data = 1;
  const LayoutResult one = run_on_one_rank(run);
  for (const double loss : one.losses) EXPECT_TRUE(std::isfinite(loss));
  run.global_batch = 4;
  run.plan = {.data = 4, .expert = 4};
  const LayoutResult four = run_on_threads(4, run);
  const LayoutResult alone = run_on_one_rank(run);
  EXPECT_NEAR(four.losses[0], alone.losses[0], 1e-5 * alone.losses[0]);
  for (const double loss : four.losses) EXPECT_TRUE(std::isfinite(loss));
}

TEST(ExpertExtremes, TheSlowestRankIsAtLeastTheMean) {
  LayoutRun run;
  run.model = tiny_model(ModelFamily::llama);
  run.model.moe = {.num_experts = 4, .expert_ffn_size = 12, .first_block = 1};
  run.steps = 1;
  run.plan = {.data = 2, .pipeline = 2, .expert = 2};
  const LayoutResult result = run_on_threads(4, run);
  ASSERT_EQ(result.router_loads.size(), 2U);
  for (const RouterLoad& load : result.router_loads) {
    EXPECT_GT(load.mean_seconds, 0);
    EXPECT_GE(load.slowest_seconds, load.mean_seconds);
  }
}

TEST(ExpertExtremes, WhatDoesNotDivideIsRefusedWithTheNearest) {
  EXPECT_THAT(expert_parallel_errors({.num_experts = 6}, 4),
              testing::ElementsAre(testing::HasSubstr("--parallel.expert 3 or 6")));
  EXPECT_THAT(expert_parallel_errors({}, 2), testing::ElementsAre(testing::HasSubstr("on a dense model")));
  ParallelPlan plan{.data = 6, .expert = 4};
  EXPECT_THAT(resolve(plan, 6), testing::ElementsAre(testing::HasSubstr("--parallel.expert 3 or 6")));
  ParallelPlan wide{.data = 2, .tensor = 4, .expert_tensor = 3};
  EXPECT_THAT(resolve(wide, 8), testing::ElementsAre(testing::HasSubstr("--parallel.expert-tensor 2 or 4")));
  ParallelPlan folded{.data = 1, .tensor = 4, .expert = 4, .expert_tensor = 2};
  EXPECT_THAT(resolve(folded, 4),
              testing::ElementsAre(testing::AllOf(
                  testing::HasSubstr("2 ranks that process different tokens (data 1 x context 1 x "
                                     "tensor 4 / expert-tensor 2)"),
                  testing::HasSubstr("--parallel.expert 2"))));
  EXPECT_THAT(expert_parallel_errors({.num_experts = 8}, 4, 3),
              testing::ElementsAre(testing::HasSubstr("a rank holds 2 experts")));
  ParallelPlan chunked{.data = 2, .expert_chunks = 2};
  EXPECT_THAT(resolve(chunked, 2), testing::ElementsAre(testing::HasSubstr("without expert parallelism")));
  ParallelPlan sharded{.data = 12, .expert = 4, .zero_stage = 1, .shard = 6};
  EXPECT_THAT(resolve(sharded, 12), testing::ElementsAre(testing::HasSubstr("neither divides the other")));
}

TEST(ExpertBalance, BiasesRiseForTheIdleAndFallForTheBusy) {
  RouterBalance balance("router", 0, 4, 0.5);
  RouterSums sums;
  sums.chosen = {4, 0, 2, 2};
  balance.finish(sums);
  EXPECT_EQ(balance.bias, (std::vector<float>{-0.5f, 0.5f, 0.0f, 0.0f}));
  EXPECT_EQ(balance.last_load, (std::vector<double>{2, 0, 1, 1}));
}

}  // namespace
}  // namespace trireme::test
