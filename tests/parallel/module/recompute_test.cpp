// Recomputation changes no bit, and keeps no more than it says.
#include "parallel/module/recompute.h"
#include "models/families/family.h"

#include <gtest/gtest.h>

#include "models/transformer/block.h"
#include "models/transformer/transformer.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/ops/elementwise.h"
#include "tests/support/layout_run.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

constexpr Recomputation kSelective{RecomputeMode::selective}, kFull{RecomputeMode::full},
    kEverySecond{RecomputeMode::full, 2};

struct Case {
  const char* name;
  ModelFamily family;
  DType precision;
  int ranks;
  ParallelPlan plan;
  int zero_stage = 0;
};

class RecomputeLayouts : public testing::TestWithParam<Case> {};

TEST_P(RecomputeLayouts, ChangesNoBit) {
  const Case& c = GetParam();
  LayoutRun run;
  run.model = tiny_model(c.family);
  run.precision = c.precision;
  run.plan = c.plan;
  run.plan.zero_stage = c.zero_stage;
  run.plan.bucket_mib = in_mib(4096);
  run.steps = 5;
  run.unequal_targets = true;
  const LayoutResult plain = run_on_threads(c.ranks, run);
  for (const Recomputation& recomputation : {kSelective, kFull, kEverySecond}) {
    SCOPED_TRACE(fmt::format("mode {}, every {}", static_cast<int>(recomputation.mode), recomputation.every));
    run.recomputation = recomputation;
    const LayoutResult result = run_on_threads(c.ranks, run);
    EXPECT_EQ(result.losses, plain.losses);
    EXPECT_EQ(result.norms, plain.norms);
    EXPECT_EQ(result.gradients, plain.gradients);
    EXPECT_EQ(result.weights, plain.weights);
  }
}

constexpr auto kGpt2 = ModelFamily::gpt2, kLlama = ModelFamily::llama;
INSTANTIATE_TEST_SUITE_P(
    All, RecomputeLayouts,  // the global batch of 8 makes accumulation of 8 on one data rank, 4 on two
    testing::Values(Case{"one_rank", kGpt2, DType::f32, 1, {}}, Case{"one_rank", kLlama, DType::bf16, 1, {}},
                    Case{"tp2", kLlama, DType::f32, 2, {.tensor = 2}},
                    Case{"tp2_sequence", kGpt2, DType::f32, 2, {.tensor = 2, .sequence = true}},
                    Case{"tp2_sequence", kLlama, DType::bf16, 2, {.tensor = 2, .sequence = true}},
                    Case{"dp2", kGpt2, DType::bf16, 2, {.data = 2}},
                    Case{"dp2_zero2", kLlama, DType::f32, 2, {.data = 2}, 2},
                    Case{"dp2_zero3", kGpt2, DType::f32, 2, {.data = 2}, 3},
                    Case{"pp2", kLlama, DType::f32, 2, {.pipeline = 2, .schedule = ScheduleKind::zb_h1}},
                    Case{"cp2", kGpt2, DType::f32, 2, {.context = 2}},
                    Case{"dp2_tp2", kGpt2, DType::f32, 4, {.data = 2, .tensor = 2}, 1}),
    [](const auto& p) {
      return fmt::format("{}_{}_{}", p.param.name, to_string(p.param.family), to_string(p.param.precision));
    });

// A model of tiny layers on one rank with its gradients, for schedules that a training step does not have.
struct Fixture {
  explicit Fixture(ModelFamily family, const Recomputation& recomputation = {})
      : model(ctx, one_rank, tiny_model(family),
              {.max_seq_len = 8, .compute_type = DType::f32, .recomputation = recomputation}) {
    model.storage().initialize(ctx, 7);
    ops::fill(ctx, loss_sum, 0);
  }

  MicroBatch micro_batch(int32_t first) {
    std::vector<int32_t> tokens(16), targets(16);
    for (int32_t i = 0; i < 16; ++i) {
      tokens[static_cast<size_t>(i)] = (first + 5 * i) % 37;
      targets[static_cast<size_t>(i)] = (first + 3 * i) % 37;
    }
    MicroBatch mb = make_micro_batch(ctx, 2, 8, tokens, targets);
    mb.loss_sum = loss_sum;
    return mb;
  }
  int64_t activations() const { return ctx.allocator().stats().by_category[kActivations].current; }

  static constexpr auto kActivations = static_cast<size_t>(MemoryCategory::activations);
  std::unique_ptr<Communicator> self = make_self_communicator();
  ParallelContext one_rank{*self, {.data = 1}};
  Context ctx;
  Tensor loss_sum = Tensor::empty(ctx, {1}, DType::f64, MemoryCategory::buffers);
  Transformer model;
};

// As a pipeline does it: several micro-batches in flight, weight gradients later.
std::vector<std::vector<float>> gradients_of_split_passes(Fixture& f) {
  std::vector<MicroBatch> batches{f.micro_batch(1), f.micro_batch(2), f.micro_batch(3)};
  std::vector<StageSaved> saved(batches.size());
  Stage& stage = f.model.part().chunks[0];
  for (size_t i = 0; i < batches.size(); ++i) stage.forward(f.ctx, batches[i], Tensor(), saved[i]);
  for (size_t i = 0; i < batches.size(); ++i) stage.backward_input(f.ctx, Tensor(), saved[i]);
  for (size_t i = 0; i < batches.size(); ++i) stage.backward_weight(f.ctx, saved[i], {});
  std::vector<std::vector<float>> gradients;
  for (const ParameterBlock* block : stage.blocks()) gradients.push_back(to_vector(block->gradient));
  return gradients;
}

TEST(Recompute, SplitBackwardPassesWithMicroBatchesInFlightChangeNoBit) {
  for (const ModelFamily family : {kGpt2, kLlama}) {
    Fixture plain(family);
    const auto expected = gradients_of_split_passes(plain);
    for (const Recomputation& recomputation : {kSelective, kFull, kEverySecond}) {
      Fixture f(family, recomputation);
      EXPECT_EQ(gradients_of_split_passes(f), expected);
      EXPECT_EQ(*f.loss_sum.data<double>(), *plain.loss_sum.data<double>());
      EXPECT_EQ(f.activations(), 0) << "left behind";
    }
  }
}

// Embedding, blocks and head inside one layer: also what begins with tokens and ends in a loss.
class WholeModel final : public Layer {
 public:
  explicit WholeModel(Stage& stage) : stage_(stage) {}
  Tensor forward(Context& ctx, const MicroBatch& mb, const Tensor& x, Saved& saved) override {
    return stage_.forward(ctx, mb, x, saved.emplace<StageSaved>());
  }
  Tensor backward_input(Context& ctx, const Tensor& dy, Saved& saved) override {
    return stage_.backward_input(ctx, dy, saved.get<StageSaved>());
  }
  void backward_weight(Context& ctx, Saved& saved) override {
    stage_.backward_weight(ctx, saved.get<StageSaved>(), {});
  }
  void collect(std::vector<ParameterBlock*>& blocks) override { blocks = stage_.blocks(); }

 private:
  Stage& stage_;
};

TEST(Recompute, AnyLayerKeepsNothingButItsInputAndAddsItsLossOnce) {
  Fixture plain(kGpt2), f(kGpt2);
  Recomputed layer(std::make_unique<WholeModel>(f.model.part().chunks[0]));
  std::vector<ParameterBlock*> blocks;
  layer.collect(blocks);
  ASSERT_EQ(blocks, f.model.part().chunks[0].blocks());

  MicroBatch mb = f.micro_batch(4);
  mb.gradient_scale = 0.5f;
  Saved saved;
  layer.forward(f.ctx, mb, Tensor(), saved);
  EXPECT_EQ(f.activations(), 0);
  layer.backward_input(f.ctx, Tensor(), saved);
  EXPECT_GT(f.activations(), 0) << "the weight gradients need them";
  layer.backward_weight(f.ctx, saved);
  EXPECT_EQ(f.activations(), 0);

  MicroBatch same = plain.micro_batch(4);
  same.gradient_scale = 0.5f;
  StageSaved all;
  plain.model.part().chunks[0].forward(plain.ctx, same, Tensor(), all);
  plain.model.part().chunks[0].backward(plain.ctx, Tensor(), all, {});
  EXPECT_EQ(*f.loss_sum.data<double>(), *plain.loss_sum.data<double>());
  for (size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_EQ(to_vector(blocks[i]->gradient), to_vector(plain.model.part().chunks[0].blocks()[i]->gradient))
        << i;
  }
}

TEST(Recompute, NothingIsKeptWithoutTraining) {
  Fixture f(kLlama, kFull);
  MicroBatch mb = f.micro_batch(5);
  mb.training = false;
  StageSaved saved;
  f.model.part().chunks[0].forward(f.ctx, mb, Tensor(), saved);
  EXPECT_EQ(f.activations(), 0);
}

TEST(Recompute, EveryKthBlockCountsFromTheFirst) {
  const Recomputation third{RecomputeMode::full, 3};
  EXPECT_TRUE(third.of_block(0) && third.of_block(3));
  EXPECT_FALSE(third.of_block(1) || third.of_block(2));
  EXPECT_EQ(third.num_whole_blocks(3), 1);
  EXPECT_EQ(third.num_whole_blocks(4), 2);
  EXPECT_EQ(kSelective.num_whole_blocks(4), 0);
}

}  // namespace
}  // namespace trireme::test
