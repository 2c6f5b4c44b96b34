// Kinds of blocks follow one rank in any layout: norms behind the parts, parts side by side, QK norm over
// whole projections.
#include <gtest/gtest.h>

#include "models/families/family.h"
#include "tests/support/drawn_layout.h"
#include "tests/support/run_differences.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

std::string kinds_of(const ModelConfig& model) {
  return fmt::format("placement {}, parallel {}, QK norm {}, activation {}, bias {}, kv heads {}; ",
                     static_cast<int>(model.norm_placement), model.parallel_residual,
                     static_cast<int>(model.qk_norm), static_cast<int>(model.activation),
                     static_cast<int>(model.bias), model.num_kv_heads);
}

void expect_layout_follows(const LayoutRun& run) {
  SCOPED_TRACE(kinds_of(run.model) + text_of(run));
  LayoutRun plain = run;
  plain.recomputation = {};
  expect_follows_or_drifts(run_on_threads(run.plan.world_size(), run), run_on_one_rank(plain), plain);
}

class BlockKinds : public testing::TestWithParam<uint64_t> {};

TEST_P(BlockKinds, FollowOneRank) {
  LayoutRun run = draw_layout(GetParam());
  draw_block_kinds(GetParam(), run);
  run.steps = 5;
  expect_layout_follows(run);
}

// Another TRIREME_TEST_SEED draws other layouts.
const uint64_t kFirst = test_seed() * 1000 + 400;
INSTANTIATE_TEST_SUITE_P(Drawn, BlockKinds, testing::Range(kFirst, kFirst + (whole_tier() ? 80 : 12)),
                         [](const auto& p) { return std::to_string(p.param); });

// Convolutions in the place of attention, and blocks that are narrow inside.
class EdgeBlocks : public testing::TestWithParam<uint64_t> {};

TEST_P(EdgeBlocks, FollowOneRank) {
  LayoutRun run = draw_layout(GetParam());
  draw_edge_blocks(GetParam(), run);
  run.steps = 4;
  const ModelConfig& model = run.model;
  SCOPED_TRACE(fmt::format("convolution {} every {} from {}, bottleneck {} x {}", model.convolution.kernel,
                           model.convolution.every, model.convolution.first_block, model.bottleneck.width,
                           model.bottleneck.num_feed_forwards));
  expect_layout_follows(run);
}

INSTANTIATE_TEST_SUITE_P(Drawn, EdgeBlocks, testing::Range(kFirst, kFirst + (whole_tier() ? 80 : 12)),
                         [](const auto& p) { return std::to_string(p.param); });

struct NamedLayout {
  std::string name;
  ParallelPlan plan;
  RecomputeMode recomputation = RecomputeMode::none;
};
void PrintTo(const NamedLayout& layout, std::ostream* out) { *out << layout.name; }

std::vector<NamedLayout> layouts() {
  using enum ScheduleKind;
  return {{"tensor2", {.tensor = 2}},
          {"tensor2_sequence_chunks", {.tensor = 2, .sequence = true, .tensor_chunks = 2}},
          {"tensor4", {.tensor = 4}},
          {"tensor4_sequence", {.tensor = 4, .sequence = true}, RecomputeMode::full},
          {"context2_tensor2", {.tensor = 2, .context = 2}, RecomputeMode::selective},
          {"data2_zero3_tensor2", {.data = 2, .tensor = 2, .zero_stage = 3}},
          {"data2_zero3_pipeline2_zbh1",
           {.data = 2, .pipeline = 2, .zero_stage = 3, .schedule = zb_h1},
           RecomputeMode::selective},
          {"pipeline2_tensor2_zbh1", {.tensor = 2, .pipeline = 2, .sequence = true, .schedule = zb_h1}}};
}

/// Four query heads and a key head or two, so that tensor ranks hold copies of key heads.
LayoutRun run_of(ModelFamily family, const NamedLayout& layout, int64_t kv_heads) {
  LayoutRun run;
  run.model = tiny_model(family);
  run.model.num_kv_heads = kv_heads;
  run.plan = layout.plan;
  if (run.plan.data == 0) run.plan.data = 1;
  run.recomputation.mode = layout.recomputation;
  run.seq_len = 16;
  run.steps = 3;
  run.global_batch = 4;
  run.unequal_targets = true;
  return run;
}

class BlockKindsIn : public testing::TestWithParam<NamedLayout> {};

TEST_P(BlockKindsIn, Olmo2FollowsOneRank) {
  for (const int64_t kv_heads : {1, 2})
    expect_layout_follows(run_of(ModelFamily::olmo2, GetParam(), kv_heads));
}

TEST_P(BlockKindsIn, NeoxFollowsOneRank) {
  LayoutRun run = run_of(ModelFamily::neox, GetParam(), 4);
  run.model.rotary_dims = 2;
  expect_layout_follows(run);
}

INSTANTIATE_TEST_SUITE_P(Named, BlockKindsIn, testing::ValuesIn(layouts()),
                         [](const auto& p) { return p.param.name; });

// Experts beside attention, on ranks of a mesh of their own.
TEST(BlockKindsOfExperts, SideBySideFollowOneRank) {
  for (const bool shared : {false, true}) {
    LayoutRun run =
        run_of(ModelFamily::neox, {"", {.data = 2, .tensor = 2, .expert = 2, .sequence = true}}, 2);
    run.model.init_std = 0.2;
    run.lr = 1e-4;
    run.model.qk_norm = QkNormKind::projection;
    run.model.moe = {.num_experts = 8,
                     .expert_ffn_size = 12,
                     .shared_ffn_size = shared ? 10 : 0,
                     .aux_loss = 0.05,
                     .z_loss = 0.01};
    run.plan.expert_tensor = 1;
    expect_layout_follows(run);
  }
}

}  // namespace
}  // namespace trireme::test
