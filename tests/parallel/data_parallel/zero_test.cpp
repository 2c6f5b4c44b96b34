// ZeRO stages 1, 2 and 3 equal plain data parallelism bit for bit, and divide memory as the formulas say.
#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/session/training_session.h"
#include "models/transformer/transformer.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/random.h"
#include "tests/support/layout_run.h"
#include "tests/support/memory_run.h"
#include "tests/support/tensors.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

struct Case {
  ModelFamily family;
  int ranks;
  DType precision;
  int64_t accumulation;
};

class Zero : public testing::TestWithParam<Case> {};

TEST_P(Zero, StagesEqualPlainDataParallelismBitForBit) {
  const Case& c = GetParam();
  LayoutRun run;
  run.model = tiny_model(c.family);
  run.precision = c.precision;
  run.steps = 6;
  run.global_batch = c.ranks * c.accumulation;
  run.unequal_targets = true;
  run.options.clip = 0.5;  // far below the norms of these steps, so that every update uses the norm
  const LayoutResult plain = run_on_threads(c.ranks, run);
  EXPECT_GT(plain.norms[1], run.options.clip);
  for (const int64_t bucket_bytes : {int64_t{1}, int64_t{20000}, int64_t{25} << 20}) {
    for (const int stage : {0, 1, 2, 3}) {
      run.plan.bucket_mib = in_mib(bucket_bytes);
      run.plan.zero_stage = stage;
      run.plan.overlap = bucket_bytes != 20000;  // prefetch too
      SCOPED_TRACE(fmt::format("stage {}, buckets of {} bytes", stage, bucket_bytes));
      const LayoutResult result = run_on_threads(c.ranks, run);
      EXPECT_EQ(result.losses, plain.losses);
      EXPECT_EQ(result.norms, plain.norms);
      EXPECT_EQ(result.weights, plain.weights);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, Zero,
    testing::Values(Case{ModelFamily::gpt2, 2, DType::f32, 1}, Case{ModelFamily::gpt2, 3, DType::bf16, 3},
                    Case{ModelFamily::gpt2, 4, DType::f32, 3}, Case{ModelFamily::llama, 2, DType::bf16, 1},
                    Case{ModelFamily::llama, 3, DType::f32, 1}, Case{ModelFamily::llama, 4, DType::bf16, 3},
                    Case{ModelFamily::llama, 8, DType::f32, 1}),
    [](const auto& p) {
      return fmt::format("{}_dp{}_{}_x{}", to_string(p.param.family), p.param.ranks,
                         to_string(p.param.precision), p.param.accumulation);
    });

TEST(ZeroBesideTensorParallelism, StagesEqualPlainDataParallelismBitForBitAndFollowOneRank) {
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama}) {
    for (const bool sequence : {false, true}) {
      LayoutRun run;
      run.model = tiny_model(family);
      run.unequal_targets = true;
      run.plan = {.tensor = 2, .sequence = sequence};
      run.plan.bucket_mib = in_mib(20000);
      const LayoutResult plain = run_on_threads(4, run);
      expect_follows(plain, run_on_one_rank(run));
      for (const int stage : {1, 2, 3}) {
        run.plan.zero_stage = stage;
        const LayoutResult result = run_on_threads(4, run);
        EXPECT_EQ(result.losses, plain.losses) << "stage " << stage;
        EXPECT_EQ(result.norms, plain.norms) << "stage " << stage;
        EXPECT_EQ(result.weights, plain.weights) << "stage " << stage;
      }
    }
  }
}

TEST(ZeroBesideAPipeline, StageThreeEqualsPlainDataParallelismBitForBit) {
  for (const ScheduleKind schedule :
       {ScheduleKind::one_f_one_b, ScheduleKind::zb_h1, ScheduleKind::interleaved}) {
    for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama}) {
      LayoutRun run;
      run.model = tiny_model(family);
      run.unequal_targets = true;
      run.steps = 5;
      run.plan = {.pipeline = 2, .schedule = schedule};
      run.plan.virtual_stages = schedule == ScheduleKind::interleaved ? 2 : 1;
      run.plan.bucket_mib = in_mib(20000);
      const LayoutResult plain = run_on_threads(4, run);
      run.plan.zero_stage = 3;
      const LayoutResult result = run_on_threads(4, run);
      EXPECT_EQ(result.losses, plain.losses) << to_string(schedule);
      EXPECT_EQ(result.norms, plain.norms) << to_string(schedule);
      EXPECT_EQ(result.weights, plain.weights) << to_string(schedule);
    }
  }
}

// Wide enough that padding and vectors are a small share.
LayoutRun wide_run(DType precision, int ranks, int64_t accumulation) {
  LayoutRun run;
  run.model = tiny_model(ModelFamily::llama);
  run.model.num_layers = 12;  // flat buffers of 13.7 MiB
  run.model.hidden_size = 256;
  run.model.ffn_size = 128;
  run.precision = precision;
  run.steps = 2;
  run.seq_len = 4;
  run.global_batch = ranks * accumulation;
  run.plan.bucket_mib = in_mib(256 << 10);
  return run;
}

struct MemoryCase {
  DType precision;
  int ranks;
  int64_t accumulation;
  int stage;
  bool overlap;
};

std::vector<MemoryCase> memory_cases() {
  std::vector<MemoryCase> all;
  for (const DType precision : {DType::f32, DType::bf16}) {
    for (const int ranks : {2, 4}) {
      for (const int64_t accumulation : {1, 2}) {
        for (const int stage : {0, 1, 2, 3}) {
          for (const bool overlap : {true, false})
            all.push_back({precision, ranks, accumulation, stage, overlap});
        }
      }
    }
  }
  return all;
}

TEST(ZeroMemory, PeaksFollowTheEstimate) {
  for (const MemoryCase& c : sample(memory_cases(), 14)) {
    SCOPED_TRACE(fmt::format("stage {}, {} ranks, {}, accumulation {}, overlap {}", c.stage, c.ranks,
                             to_string(c.precision), c.accumulation, c.overlap));
    LayoutRun run = wide_run(c.precision, c.ranks, c.accumulation);
    run.plan.data = c.ranks;
    run.plan.zero_stage = c.stage;
    run.plan.overlap = c.overlap;
    expect_memory_as_predicted(run);
  }
}

TEST(ZeroMemory, DividedMastersBeginAsWholeOnesDo) {
  Context ctx;
  const ModelConfig config = tiny_model(ModelFamily::gpt2);
  const auto self = make_self_communicator();
  const ParallelContext one_rank(*self, {.data = 1});
  Transformer whole(ctx, one_rank, config, {.max_seq_len = 8, .compute_type = DType::bf16});
  whole.storage().initialize(ctx, 7);
  run_thread_ranks(3, [&](Communicator& world) {
    Context mine;
    const ParallelContext parallel(world, {.data = world.size()});
    Transformer divided(
        mine, parallel, config,
        {.max_seq_len = 8,
         .compute_type = DType::bf16,
         .sharding = {
             .zero_stage = 1, .num_shards = world.size(), .shard = world.rank(), .bucket_bytes = 5000}});
    divided.storage().initialize(mine, 7);
    StateReader reader(mine, parallel, ParameterState::master);
    for (size_t i = 0; i < whole.storage().parameters().size(); ++i) {
      const ParameterView& view = divided.storage().parameters()[i];
      EXPECT_EQ(to_vector(reader.read(view)), to_vector(whole.storage().parameters()[i].master))
          << view.parameter->name;
    }
    const auto weights = whole.part().blocks();
    const auto others = divided.part().blocks();
    for (size_t i = 0; i < weights.size(); ++i) {
      EXPECT_EQ(to_vector(others[i]->weight), to_vector(weights[i]->weight));
    }
  });
}

// Half of every block, from its third element on, as where tensor ranks hold copies that count once.
double sum_of_squares_of_halves(Context& ctx, Communicator& data, ParameterStorage& storage) {
  const Tensor out = Tensor::empty(ctx, {1}, DType::f64);
  ops::fill(ctx, out, 0);
  for (const ParameterGroup& group : storage.groups()) {
    std::vector<IndexRange> counted;
    for (const auto& place : group.places) {
      const int64_t numel = place.block->shape().numel();
      ops::fill_normal(ctx, place.block->gradient.view({numel}), 3, place.block->members[0].name, {numel},
                       {0}, 0, 1);
      counted.push_back({place.begin + 2, place.begin + 2 + numel / 2});
    }
    add_sum_of_squares(ctx, data, group, counted, out);
  }
  return *out.data<double>();
}

TEST(ZeroNorm, APartOfTheGradientsHasTheSameSumHoweverItIsDivided) {
  const ModelConfig config = tiny_model(ModelFamily::gpt2);
  Context ctx;
  const auto self = make_self_communicator();
  const ParallelContext one_rank(*self, {.data = 1});
  Transformer whole(ctx, one_rank, config, {.max_seq_len = 8, .compute_type = DType::f32});
  const double expected = sum_of_squares_of_halves(ctx, *self, whole.storage());
  EXPECT_GT(expected, 1000);
  for (const int ranks : {2, 3}) {
    run_thread_ranks(ranks, [&](Communicator& world) {
      Context mine;
      const ParallelContext parallel(world, {.data = ranks});
      Transformer divided(
          mine, parallel, config,
          {.max_seq_len = 8,
           .compute_type = DType::f32,
           .sharding = {.zero_stage = 1, .num_shards = ranks, .shard = world.rank(), .bucket_bytes = 20000}});
      EXPECT_EQ(sum_of_squares_of_halves(mine, world, divided.storage()), expected);
    });
  }
}

TEST(ZeroMemory, TheStorageIsLaidOutAsThePlanSays) {
  run_thread_ranks(4, [&](Communicator& world) {
    Context ctx;
    const ParallelPlan plan{.zero_stage = 2, .shard = 2, .bucket_mib = in_mib(4096)};
    TrainingSession session(ctx, world, plan, tiny_model(ModelFamily::gpt2),
                            {.precision = DType::bf16, .master = false});
    const ShardingSpec expected{.zero_stage = 2,
                                .num_shards = 2,
                                .shard = world.rank() % 2,
                                .num_expert_shards = 2,
                                .expert_shard = world.rank() % 2,
                                .bucket_bytes = 4096,
                                .master = false};
    EXPECT_EQ(session.storage().sharding(), expected);
  });
}

}  // namespace
}  // namespace trireme::test
