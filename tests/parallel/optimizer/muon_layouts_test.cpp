// Muon in any layout gives the weights of one rank: whole matrices are brought together wherever their pieces
// lie, and what comes back is the same everywhere.
#include <gtest/gtest.h>

#include "tests/support/drawn_layout.h"
#include "tests/support/memory_run.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

LayoutRun with_muon(LayoutRun run) {
  run.rules = muon_rules();
  run.steps = 3;
  run.lr = 1e-2;
  return run;
}

LayoutRun plain(LayoutRun run) {
  run.plan.zero_stage = 0;
  run.recomputation = {};
  return run;
}

class MuonLayouts : public testing::TestWithParam<uint64_t> {};

TEST_P(MuonLayouts, FollowOneRank) {
  const LayoutRun run = with_muon(draw_layout(GetParam()));
  SCOPED_TRACE(text_of(run));
  expect_follows(run_on_threads(run.plan.world_size(), run), run_on_one_rank(plain(run)));
}

// Another TRIREME_TEST_SEED draws other layouts.
const uint64_t kFirst = test_seed() * 1000 + 400;
INSTANTIATE_TEST_SUITE_P(Drawn, MuonLayouts, testing::Range(kFirst, kFirst + (whole_tier() ? 48 : 4)),
                         [](const auto& p) { return std::to_string(p.param); });

// Who owns which matrix, and which elements a rank holds of it, is nothing that a weight could know.
TEST(MuonShards, ZeroStagesAndBucketsChangeNoBit) {
  for (const bool master : {true, false}) {
    LayoutRun run = with_muon({});
    run.model = tiny_model(ModelFamily::llama);
    run.precision = master ? DType::f32 : DType::bf16;
    run.master = master;
    run.unequal_targets = true;
    run.plan.data = 4;
    const LayoutResult plain = run_on_threads(4, run);
    for (const int64_t bytes : {int64_t{1}, int64_t{20000}}) {
      for (const int stage : {0, 1, 2, 3}) {
        run.plan.bucket_mib = in_mib(bytes);
        run.plan.zero_stage = stage;
        EXPECT_TRUE(run_on_threads(4, run).weights == plain.weights) << "stage " << stage;
      }
    }
  }
}

// Groups of shards sum gradients in another order; each group has matrices of its own to make orthogonal.
TEST(MuonShards, GroupsOfShardsFollowOneRank) {
  LayoutRun run = with_muon({});
  run.model = tiny_model(ModelFamily::gpt2);
  const LayoutResult one = run_on_one_rank(run);
  run.plan.shard = 2;
  for (const int tensor : {1, 2}) {
    run.plan.tensor = tensor;
    run.plan.zero_stage = 1 + tensor;
    expect_follows(run_on_threads(4 * tensor, run), one);
  }
}

// Key-value heads that several tensor ranks hold, and sizes that do not divide.
TEST(MuonCopies, OfKeyValueHeadsStayEqual) {
  LayoutRun run = with_muon({});
  run.model = tiny_model(ModelFamily::llama);
  run.model.hidden_size = 48;
  run.model.num_heads = 8;
  run.model.ffn_size = 37;
  const LayoutResult one = run_on_one_rank(run);
  run.plan.tensor = 4;
  expect_follows(run_on_threads(4, run), one);
  run.plan.zero_stage = 3;
  expect_follows(run_on_threads(8, run), one);
}

// One momentum where AdamW has two moments, and nothing hidden.
TEST(MuonMemory, OfStateIsAsPredicted) {
  for (const int stage : sample(std::vector{2, 0}, 1)) {
    LayoutRun run = with_muon({});
    run.model = tiny_model(ModelFamily::llama);
    run.model.num_layers = 4;
    run.model.hidden_size = 128;
    run.model.ffn_size = 256;
    run.seq_len = 4;
    run.plan.data = 2;
    run.plan.zero_stage = stage;
    const MemoryComparison memory = compare_memory(run);
    const auto measured = static_cast<double>(memory.measured[MemoryCategory::optimizer]);
    EXPECT_NEAR(measured, static_cast<double>(memory.predicted[MemoryCategory::optimizer]), 0.02 * measured);
    run.rules = {};
    const auto adamw = static_cast<double>(compare_memory(run).measured[MemoryCategory::optimizer]);
    EXPECT_LT(measured, 0.54 * adamw) << "stage " << stage;
    EXPECT_GT(measured, 0.5 * adamw) << "stage " << stage;
    expect_memory_as_predicted(with_muon(run));
  }
}

}  // namespace
}  // namespace trireme::test
