// ZeRO stage 3 outside a plain training step: evaluation, generation, split passes, chunks, failures.
#include "parallel/data_parallel/sharded_weights.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "models/session/training_session.h"
#include "models/transformer/block.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "parallel/module/distinct_blocks.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/ops/elementwise.h"
#include "tests/support/layers_of.h"
#include "tests/support/layout_run.h"
#include "tests/support/memory_run.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

constexpr int64_t kSeqLen = 8;

MicroBatch some_micro_batch(Context& ctx, int first) {
  std::vector<int32_t> tokens, targets;
  for (int i = 0; i < kSeqLen; ++i) {
    tokens.push_back((first + 5 * i) % 37);
    targets.push_back((first + 7 * i) % 37);
  }
  return make_micro_batch(ctx, 1, kSeqLen, tokens, targets);
}

ShardingSpec sharding(const Communicator& world, int stage) {
  return {.zero_stage = stage,
          .num_shards = stage == 0 ? 1 : world.size(),
          .shard = stage == 0 ? 0 : world.rank(),
          .num_expert_shards = stage == 0 ? 1 : world.size(),
          .expert_shard = stage == 0 ? 0 : world.rank(),
          .bucket_bytes = 5000};
}

struct Outputs {
  std::vector<float> logits;
  double loss = 0;
  friend bool operator==(const Outputs&, const Outputs&) = default;
};

// Evaluates, then asks for logits twice, as generation does; every rank its own tokens.
Outputs outputs_of(Communicator& world, const ModelConfig& config, DType precision, int stage) {
  Context ctx;
  TrainingSession session(ctx, world, {.data = world.size(), .zero_stage = stage, .bucket_mib = in_mib(5000)},
                          config, {.max_seq_len = kSeqLen, .precision = precision, .seed = 7});
  std::vector<MicroBatch> batches{some_micro_batch(ctx, world.rank()), some_micro_batch(ctx, 9)};
  Outputs out;
  out.loss = session.step().evaluate(batches).loss_sum;
  for (int i = 0; i < 2; ++i) {
    const auto logits = to_vector(session.model().logits(ctx, some_micro_batch(ctx, 3 * world.rank() + i)));
    out.logits.insert(out.logits.end(), logits.begin(), logits.end());
  }
  for (const ParameterBlock* block : session.part().blocks()) {
    EXPECT_EQ(static_cast<bool>(block->weight), stage < 3 || !block->is_matrix());
  }
  return out;
}

TEST(ShardedWeights, EvaluationAndLogitsHaveTheBitsOfWholeWeights) {
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama}) {
    for (const DType precision : {DType::f32, DType::bf16}) {
      for (const int ranks : {2, 3}) {
        run_thread_ranks(ranks, [&](Communicator& world) {
          const Outputs whole = outputs_of(world, tiny_model(family), precision, 0);
          EXPECT_GT(whole.loss, 1);
          EXPECT_EQ(outputs_of(world, tiny_model(family), precision, 3), whole);
        });
      }
    }
  }
}

// A model cut into two stages that share a storage, as the chunks of an interleaved pipeline on one rank do.
struct Chunks {
  std::unique_ptr<Communicator> self = make_self_communicator();
  std::unique_ptr<Stage> first, second;
  std::unique_ptr<ParameterStorage> storage;
  std::unique_ptr<ParallelContext> parallel;
  std::unique_ptr<ShardedWeights> weights;

  Chunks(Context& ctx, Communicator& world, int stage, std::unique_ptr<Layer> extra = nullptr) {
    const LayersOf layers(tiny_model(ModelFamily::gpt2), *self);
    std::vector<std::unique_ptr<Layer>> a, b;
    std::unique_ptr<Embedding> embedding(new Embedding(layers.embedding()));
    ParameterBlock* table = &embedding->tokens();
    a.push_back(std::move(embedding));
    a.emplace_back(new TransformerBlock(layers.block(ctx, 0)));
    if (extra) b.push_back(std::move(extra));
    b.emplace_back(new TransformerBlock(layers.block(ctx, 1)));
    b.emplace_back(new LossHead(layers.head(table)));
    first = std::make_unique<Stage>(std::move(a));
    second = std::make_unique<Stage>(std::move(b));
    auto blocks = first->blocks();
    append_new(blocks, second->blocks());  // the head's table is there
    storage = std::make_unique<ParameterStorage>(ctx, blocks, DType::f32, sharding(world, stage));
    parallel = std::make_unique<ParallelContext>(world, ParallelPlan{.data = world.size()});
    weights = std::make_unique<ShardedWeights>(*parallel, *storage, true);
    first->set_weight_access(weights.get());
    second->set_weight_access(weights.get());
    storage->initialize(ctx, 7);
  }
};

// Two micro-batches in flight, split backward passes, in an order that no plain step has.
std::map<std::string, std::vector<float>> gradients_of_chunks(Communicator& world, int stage) {
  Context ctx;
  Chunks model(ctx, world, stage);
  const GradientsExpected expected = [&](std::span<const ParameterBlock* const> blocks) {
    for (ParameterGroup& group : model.storage->groups()) {
      for (const auto& place : group.places) {
        ParameterBucket& bucket = group.buckets[place.bucket];
        const bool wanted = std::ranges::find(blocks, place.block) != blocks.end();
        if (wanted && !bucket.gradients) model.storage->make_gradients(ctx, group, bucket);
      }
    }
  };
  const MicroBatch mb0 = some_micro_batch(ctx, world.rank()), mb1 = some_micro_batch(ctx, 11);
  StageSaved a0, a1, b0, b1;
  const Tensor x0 = model.first->forward(ctx, mb0, Tensor(), a0);
  const Tensor x1 = model.first->forward(ctx, mb1, Tensor(), a1);
  model.second->forward(ctx, mb1, x1, b1);
  const Tensor dx1 = model.second->backward_input(ctx, Tensor(), b1, expected);
  model.second->forward(ctx, mb0, x0, b0);
  model.first->backward_input(ctx, dx1, a1, expected);
  const Tensor dx0 = model.second->backward(ctx, Tensor(), b0, {}, expected);
  model.second->backward_weight(ctx, b1, {});
  model.first->backward(ctx, dx0, a0, {}, expected);
  model.first->backward_weight(ctx, a1, {});
  std::map<std::string, std::vector<float>> gradients;
  for (const ParameterGroup& group : model.storage->groups()) {
    for (const auto& place : group.places) {
      EXPECT_EQ(static_cast<bool>(place.block->weight), stage < 3 || !group.matrices);
      gradients[place.block->members.front().name] = to_vector(place.block->gradient);
    }
  }
  return gradients;
}

TEST(ShardedWeights, StagesThatShareAStorageRunMicroBatchesInAnyOrder) {
  for (const int ranks : {2, 4}) {
    run_thread_ranks(ranks, [&](Communicator& world) {
      const auto whole = gradients_of_chunks(world, 0);
      EXPECT_EQ(whole.size(), 28u);
      EXPECT_EQ(gradients_of_chunks(world, 3), whole);
    });
  }
}

TEST(ShardedWeights, NoBucketHasBlocksOfTwoLayers) {
  run_thread_ranks(2, [](Communicator& world) {
    Context ctx;
    Chunks model(ctx, world, 3);
    for (const ParameterGroup& group : model.storage->groups()) {
      if (!group.matrices) continue;
      std::map<size_t, const Layer*> owner;
      for (const auto& place : group.places) {
        EXPECT_EQ(owner.try_emplace(place.bucket, place.block->owner).first->second, place.block->owner);
      }
      EXPECT_GT(owner.size(), 4u);  // layers wider than a bucket have several
    }
  });
}

// Passes x on; on one rank it throws instead.
class Planted final : public Layer {
 public:
  explicit Planted(bool throws) : throws_(throws) {}
  Tensor forward(Context&, const MicroBatch&, const Tensor& x, Saved&) override {
    if (throws_) throw_bad_input("planted in a layer");
    return x;
  }
  Tensor backward_input(Context&, const Tensor& dy, Saved&) override { return dy; }
  void backward_weight(Context&, Saved&) override {}
  void collect(std::vector<ParameterBlock*>&) override {}

 private:
  bool throws_;
};

TEST(ShardedWeights, AnExceptionBesideAGatherEndsAllRanks) {
  for (const bool everywhere : {false, true}) {
    try {
      run_thread_ranks(3, [&](Communicator& world) {
        Context ctx;
        Chunks model(ctx, world, 3, std::make_unique<Planted>(everywhere || world.rank() == 1));
        const MicroBatch mb = some_micro_batch(ctx, 1);
        StageSaved a, b;
        const Tensor x = model.first->forward(ctx, mb, Tensor(), a);
        for (int i = 0; i < 3; ++i) model.second->forward(ctx, mb, x, b);
      });
      FAIL() << "nothing was thrown";
    } catch (const UserError& error) {
      EXPECT_STREQ(error.what(), "planted in a layer");
    }
  }
}

TEST(ShardedWeights, ATiedTableCountsAmongTheTwoThatAreWhole) {
  LayoutRun run;
  run.model = tiny_model(ModelFamily::gpt2);
  run.model.num_layers = 4;
  run.model.hidden_size = 128;
  run.model.ffn_size = 512;
  run.model.vocab_size = 4000;
  run.model.max_positions = 64;
  run.plan.data = 4;
  run.seq_len = 4;
  run.global_batch = 4;
  run.plan.zero_stage = 3;
  expect_memory_as_predicted(run);
}

}  // namespace
}  // namespace trireme::test
