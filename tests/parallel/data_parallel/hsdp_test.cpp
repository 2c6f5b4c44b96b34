// ZeRO inside groups of ranks, which hold copies of one another's parts (HSDP).
#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/layout_run.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

struct Case {
  ModelFamily family;
  int ranks;
  ParallelPlan plan;
  DType precision;
  int64_t accumulation;
};

class Hsdp : public testing::TestWithParam<Case> {
 protected:
  LayoutRun run() const {
    const Case& c = GetParam();
    LayoutRun r;
    r.model = tiny_model(c.family);
    r.precision = c.precision;
    r.plan = c.plan;
    r.global_batch = c.ranks / c.plan.tensor * c.accumulation;
    r.unequal_targets = true;
    r.plan.bucket_mib = in_mib(20000);
    return r;
  }
};

TEST_P(Hsdp, StagesAreEqualBitForBit) {
  LayoutRun r = run();
  r.steps = 6;
  r.options.clip = 0.5;
  r.plan.zero_stage = 1;
  const LayoutResult first = run_on_threads(GetParam().ranks, r);
  for (const int stage : {1, 2, 3}) {
    for (const bool overlap : {false, true}) {
      r.plan.zero_stage = stage;
      r.plan.overlap = overlap;
      r.plan.bucket_mib = in_mib(overlap ? 20000 : 1);
      SCOPED_TRACE(fmt::format("stage {}, overlap {}", stage, overlap));
      const LayoutResult result = run_on_threads(GetParam().ranks, r);
      EXPECT_EQ(result.losses, first.losses);
      EXPECT_EQ(result.norms, first.norms);
      EXPECT_EQ(result.weights, first.weights);
    }
  }
}

TEST_P(Hsdp, FollowsOneRank) {
  LayoutRun r = run();
  r.precision = DType::f32;
  const LayoutResult one = run_on_one_rank(r);
  r.plan.zero_stage = 3;
  expect_follows(run_on_threads(GetParam().ranks, r), one);
}

INSTANTIATE_TEST_SUITE_P(
    All, Hsdp,
    testing::Values(Case{ModelFamily::gpt2, 4, {.shard = 2}, DType::f32, 1},
                    Case{ModelFamily::llama, 4, {.shard = 2}, DType::bf16, 3},
                    Case{ModelFamily::gpt2, 6, {.shard = 3}, DType::f32, 1},
                    Case{ModelFamily::llama, 6, {.shard = 2}, DType::f32, 2},
                    Case{ModelFamily::gpt2, 8, {.shard = 4}, DType::bf16, 1},
                    Case{ModelFamily::llama, 8, {.tensor = 2, .shard = 2, .sequence = true}, DType::f32, 1}),
    [](const auto& p) {
      return fmt::format("{}_{}ranks_shard{}_tp{}_{}", to_string(p.param.family), p.param.ranks,
                         p.param.plan.shard, p.param.plan.tensor, to_string(p.param.precision));
    });

TEST(HsdpGroups, AllRanksInOneGroupIsPlainZero) {
  LayoutRun run;
  run.model = tiny_model(ModelFamily::gpt2);
  run.steps = 4;
  run.plan.zero_stage = 2;
  const LayoutResult plain = run_on_threads(4, run);
  run.plan.shard = 4;
  EXPECT_EQ(run_on_threads(4, run).weights, plain.weights);
}

TEST(HsdpGroups, NeighboursDivideAndTheOthersHoldCopies) {
  run_thread_ranks(12, [](Communicator& world) {
    const ParallelContext parallel(world, {.data = 6, .tensor = 2, .zero_stage = 1, .shard = 3});
    const int rank = world.rank() / 2;
    EXPECT_EQ(parallel.shard().size(), 3);
    EXPECT_EQ(parallel.shard().rank(), rank % 3);
    EXPECT_EQ(parallel.replicate().size(), 2);
    EXPECT_EQ(parallel.replicate().rank(), rank / 3);
    double sum = world.rank();
    Context ctx;
    parallel.shard().all_reduce(ctx.stream(), Tensor::borrow(&sum, {1}, DType::f64));
    parallel.replicate().all_reduce(ctx.stream(), Tensor::borrow(&sum, {1}, DType::f64));
    EXPECT_EQ(sum, 30 + 6 * (world.rank() % 2));  // those with this tensor coordinate, each once
  });
}

MicroBatch micro_batch_of(Context& ctx, int rank) {
  const std::vector<int32_t> tokens{rank, rank + 9, 3, 2 * rank, 17}, targets{5, rank, -1, 36, 4 * rank};
  return make_micro_batch(ctx, 1, 5, tokens, targets);
}

TEST(HsdpGroups, EveryGradientIsTheSumOverAllRanks) {
  const ModelConfig config = tiny_model(ModelFamily::gpt2);
  const SessionOptions options{.max_seq_len = 5, .seed = 7};
  Context one_ctx;
  const auto self = make_self_communicator();
  TrainingSession one(one_ctx, *self, {}, config, options);
  std::vector<MicroBatch> all;
  for (int rank = 0; rank < 4; ++rank) all.push_back(micro_batch_of(one_ctx, rank));
  const PendingStep one_step = one.step().forward_backward(all);
  run_thread_ranks(4, [&](Communicator& world) {
    Context ctx;
    TrainingSession session(ctx, world, {.data = 4, .zero_stage = 3, .shard = 2}, config, options);
    std::vector<MicroBatch> mine{micro_batch_of(ctx, world.rank())};
    const PendingStep step = session.step().forward_backward(mine);
    std::map<std::string, std::vector<float>> sums, expected;
    for (size_t i = 0; i < session.storage().parameters().size(); ++i) {
      const ParameterView& view = session.storage().parameters()[i];
      const ParameterBucket& bucket = view.group->buckets[view.bucket];
      const Tensor whole = Tensor::empty(ctx, {bucket.end - bucket.begin}, DType::f32);
      session.parallel().shard().all_gather(ctx.stream(),
                                            view.group->own_shard(bucket, view.group->gradients), whole);
      sums[view.parameter->name] =
          to_vector(whole.flat_slice(view.begin - bucket.begin, view.parameter->shape));
      expected[view.parameter->name] = to_vector(one.storage().parameters()[i].gradient);
    }
    std::string worst;
    EXPECT_LT(largest_difference(sums, expected, worst), 1e-5) << worst;
  });
}

}  // namespace
}  // namespace trireme::test
