// A mixture of experts trains alike in every layout: gradients, norms, losses and balance terms.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "tests/support/expect_error.h"
#include "tests/support/layout_run.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

enum class Kind { mixtral, dropping, padding, fine_grained, switch_like, by_batch };

LayoutRun run_of(Kind kind) {
  LayoutRun run;
  run.model = tiny_model(kind == Kind::switch_like ? ModelFamily::gpt2 : ModelFamily::llama);
  MoeConfig& moe = run.model.moe;
  moe.num_experts = 8;
  moe.expert_ffn_size = 12;
  moe.aux_loss = 0.05;
  moe.z_loss = 0.01;
  run.model.init_std = 0.2;  // choices that rounding does not turn over
  if (kind == Kind::dropping || kind == Kind::padding) {
    moe.capacity = kind == Kind::dropping ? CapacityMode::drop : CapacityMode::pad;
    moe.capacity_factor = 0.8;
  }
  if (kind == Kind::fine_grained) {
    moe.experts_per_token = 3;
    moe.shared_ffn_size = 10;
    moe.first_block = 1;
    moe.score = RouterScore::sigmoid;
    moe.num_groups = 4;
    moe.groups_per_token = 2;
    moe.gate_scale = 1.5;
    moe.bias_rate = 0.01;
    moe.jitter = 0.2;
  }
  if (kind == Kind::switch_like) {
    moe.experts_per_token = 1;
    moe.normalize_gates = false;
    moe.every = 2;
    moe.jitter = 0.01;
    moe.capacity = CapacityMode::drop;
  }
  if (kind == Kind::by_batch) moe.aux_scope = BalanceScope::batch;
  run.steps = 4;
  run.lr = 1e-4;
  run.seq_len = 16;
  run.model.max_positions = 16;
  run.unequal_targets = kind == Kind::dropping || kind == Kind::fine_grained;  // weights of the balance terms
  return run;
}

struct Case {
  std::string name;
  ParallelPlan plan;
  int64_t micro_batch = 1;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"Accumulated", {}, 4},
      {"Ep2", {.data = 2, .expert = 2}},
      {"Ep4", {.data = 4, .expert = 4}, 2},
      {"Ep8", {.data = 8, .expert = 8}},
      {"Dp4Ep2", {.data = 4, .expert = 2}},
      {"Dp4Ep1", {.data = 4}},
      {"Ep2Tp2", {.data = 2, .tensor = 2, .expert = 2}},
      {"Ep2Tp2Sequence", {.data = 2, .tensor = 2, .expert = 2, .sequence = true}},
      {"Tp4Sequence", {.data = 1, .tensor = 4, .sequence = true}, 2},
      {"Ep2Pp2", {.data = 2, .pipeline = 2, .expert = 2}},
      {"Ep2Pp2Gpipe", {.data = 2, .pipeline = 2, .expert = 2, .schedule = ScheduleKind::gpipe}},
      {"Ep2Pp2Interleaved",
       {.data = 2, .pipeline = 2, .expert = 2, .schedule = ScheduleKind::interleaved, .virtual_stages = 2}},
      {"Ep2Pp2Zb", {.data = 2, .pipeline = 2, .expert = 2, .schedule = ScheduleKind::zb_h1}},
      {"Cp2", {.data = 1, .context = 2}},
      {"Cp2Ep2", {.data = 1, .context = 2, .expert = 2}, 2},
      {"Dp2Cp2Ep4", {.data = 2, .context = 2, .expert = 4}},
      {"Dp2Cp2Ep2Tp2", {.data = 2, .tensor = 2, .context = 2, .expert = 2}},
      {"Dp4Ep2Zero1", {.data = 4, .expert = 2, .zero_stage = 1}},
      {"Dp4Ep2Zero2", {.data = 4, .expert = 2, .zero_stage = 2}},
      {"Dp4Ep2Zero3", {.data = 4, .expert = 2, .zero_stage = 3}},
      {"Ep4Zero3", {.data = 4, .expert = 4, .zero_stage = 3}},
      {"Dp8Ep2Shard4", {.data = 8, .expert = 2, .zero_stage = 2, .shard = 4}},
      {"Dp4Ep4Shard2", {.data = 4, .expert = 4, .zero_stage = 1, .shard = 2}},
      {"Tp2Whole", {.data = 1, .tensor = 2, .expert_tensor = 1}, 2},
      {"Tp2WholeEp2", {.data = 1, .tensor = 2, .expert = 2, .expert_tensor = 1}},
      {"Tp2WholeSequenceEp4", {.data = 2, .tensor = 2, .expert = 4, .expert_tensor = 1, .sequence = true}},
      {"Tp2WholeSequence", {.data = 2, .tensor = 2, .expert_tensor = 1, .sequence = true}, 2},
      {"Tp4HalfEp2", {.data = 1, .tensor = 4, .expert = 2, .expert_tensor = 2}},
      {"Tp4HalfSequenceEp2Dp2",
       {.data = 2, .tensor = 4, .expert = 2, .expert_tensor = 2, .sequence = true},
       2},
      {"Tp4WholeEp8Zero1", {.data = 2, .tensor = 4, .expert = 8, .expert_tensor = 1, .zero_stage = 1}},
      {"Tp2WholeEp2Zero3", {.data = 2, .tensor = 2, .expert = 2, .expert_tensor = 1, .zero_stage = 3}},
      {"Tp2WholeCp2Ep4", {.data = 1, .tensor = 2, .context = 2, .expert = 4, .expert_tensor = 1}},
      {"Tp2WholePp2Cp2Sequence",
       {.data = 1,
        .tensor = 2,
        .pipeline = 2,
        .context = 2,
        .expert = 2,
        .expert_tensor = 1,
        .sequence = true}},
      {"Ep2Tp2Pp2Sequence", {.data = 2, .tensor = 2, .pipeline = 2, .expert = 2, .sequence = true}},
  };
  return all;
}

class MoeLayouts : public testing::TestWithParam<Kind> {};

TEST_P(MoeLayouts, FollowOneRank) {
  LayoutRun run = run_of(GetParam());
  const LayoutResult one = run_on_one_rank(run);
  const bool has_terms = one.aux_losses[0] > 0 && one.z_losses[0] > 0;
  EXPECT_TRUE(has_terms) << one.aux_losses[0] << ", " << one.z_losses[0];
  double dropped = 0;
  for (const RouterLoad& load : one.router_loads) dropped += load.sums.num_dropped;
  EXPECT_EQ(dropped > 0, run.model.moe.capacity != CapacityMode::dropless);
  for (const Case& c : sample(cases(), 11, static_cast<uint32_t>(GetParam()))) {
    SCOPED_TRACE(c.name);
    run.plan = c.plan;
    run.micro_batch = c.micro_batch;
    run.plan.bucket_mib = in_mib(4000);
    const int size = std::max(1, c.plan.data) * c.plan.ranks_per_replica();
    const LayoutResult result = run_on_threads(size, run);
    if (c.plan.zero_stage > 0) {
      LayoutResult without = one;
      without.gradients.clear();
      LayoutResult compared = result;
      compared.gradients.clear();
      expect_follows(compared, without);
    } else {
      expect_follows(result, one);
    }
    ASSERT_EQ(result.router_loads.size(), one.router_loads.size());
    for (size_t i = 0; i < one.router_loads.size(); ++i) {
      EXPECT_EQ(result.router_loads[i].layer, one.router_loads[i].layer);
      EXPECT_EQ(result.router_loads[i].sums.chosen, one.router_loads[i].sums.chosen);
      EXPECT_EQ(result.router_loads[i].sums.num_dropped, one.router_loads[i].sums.num_dropped);
    }
  }
}

// Chunks divide experts, never the rows of one.
TEST_P(MoeLayouts, ChunksChangeNoBit) {
  LayoutRun run = run_of(GetParam());
  run.steps = 2;
  run.plan = {.data = 2, .expert = 2, .bucket_mib = in_mib(4000)};
  const LayoutResult whole = run_on_threads(2, run);
  for (const int chunks : {2, 3, 4}) {
    SCOPED_TRACE(chunks);
    run.plan.expert_chunks = chunks;
    const LayoutResult result = run_on_threads(2, run);
    EXPECT_EQ(result.losses, whole.losses);
    EXPECT_EQ(result.norms, whole.norms);
    EXPECT_EQ(result.gradients, whole.gradients);
    EXPECT_EQ(result.weights, whole.weights);
  }
  run.plan = {.data = 2, .tensor = 2, .expert = 2, .expert_tensor = 1, .expert_chunks = 3, .sequence = true};
  expect_follows(run_on_threads(4, run), run_on_one_rank(run));
}

std::string name_of(const testing::TestParamInfo<Kind>& info) {
  constexpr const char* kNames[] = {"Mixtral", "Dropping", "Padding", "FineGrained", "SwitchLike", "ByBatch"};
  return kNames[static_cast<int>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Kinds, MoeLayouts,
                         testing::Values(Kind::mixtral, Kind::dropping, Kind::padding, Kind::fine_grained,
                                         Kind::switch_like, Kind::by_batch),
                         name_of);

}  // namespace
}  // namespace trireme::test
