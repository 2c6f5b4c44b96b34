// Jitter on what routers see: in training alone, and the same however the work is divided.
#include <gtest/gtest.h>

#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/self/self_communicator.h"
#include "tests/support/layout_run.h"

namespace trireme::test {
namespace {

LayoutRun jittered(double jitter) {
  LayoutRun run;
  run.model = tiny_model(ModelFamily::llama);
  run.model.moe = {.num_experts = 4, .expert_ffn_size = 12, .jitter = jitter};
  run.model.init_std = 0.2;
  run.steps = 3;
  run.lr = 1e-4;
  return run;
}

TEST(RouterJitter, ChangesTrainingByTheSeed) {
  const LayoutResult none = run_on_one_rank(jittered(0));
  LayoutRun run = jittered(0.1);
  const LayoutResult some = run_on_one_rank(run);
  EXPECT_NE(some.losses[0], none.losses[0]);
  EXPECT_EQ(run_on_one_rank(run).losses, some.losses);
  run.options.seed = 1;
  EXPECT_NE(run_on_one_rank(run).losses[0], some.losses[0]);
}

TEST(RouterJitter, IsTheSameWhenBlocksAreRunAgain) {
  LayoutRun run = jittered(0.1);
  const LayoutResult kept = run_on_one_rank(run);
  for (const RecomputeMode mode : {RecomputeMode::selective, RecomputeMode::full}) {
    run.recomputation.mode = mode;
    const LayoutResult again = run_on_one_rank(run);
    EXPECT_EQ(again.losses, kept.losses);
    EXPECT_EQ(again.gradients, kept.gradients);
    EXPECT_EQ(again.weights, kept.weights);
    run.plan = {.data = 2, .tensor = 2, .expert = 2, .sequence = true};
    expect_follows(run_on_threads(4, run), kept);
    run.plan = {};
  }
}

// Steps see other samples: equal tokens at equal weights do not get equal noise.
TEST(RouterJitter, DiffersFromSampleToSampleAndNotInEvaluation) {
  LayoutRun run = jittered(0.1);
  Context ctx;
  const auto self = make_self_communicator();
  const SessionOptions options{.max_seq_len = run.seq_len, .seed = 7};
  TrainingSession noisy(ctx, *self, {}, run.model, options),
      plain(ctx, *self, {}, jittered(0).model, options);
  std::vector<int32_t> ids(static_cast<size_t>(run.seq_len));
  for (size_t t = 0; t < ids.size(); ++t) ids[t] = static_cast<int32_t>(t);
  MicroBatch mb = make_micro_batch(ctx, 1, run.seq_len, ids, ids), later = mb;
  later.first_sample = 1;
  const auto loss_of = [&](MicroBatch& batch) {
    PendingStep pending = noisy.step().forward_backward({&batch, 1});
    const double loss = pending.totals().loss_sum;
    noisy.step().skip(std::move(pending));
    return loss;
  };
  const double loss = loss_of(mb);
  EXPECT_NE(loss_of(later), loss);
  EXPECT_EQ(loss_of(mb), loss);
  const double expected = plain.step().evaluate({&mb, 1}).loss_sum;
  EXPECT_NE(loss, expected);
  EXPECT_EQ(noisy.step().evaluate({&mb, 1}).loss_sum, expected);
}

}  // namespace
}  // namespace trireme::test
