// What layers are described to take of memory: nothing is left over, and what is kept is what a block has.
#include "models/spec/describe_activations.h"

#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/families/presets.h"

namespace trireme::test {
namespace {

int64_t change(const MemoryTrace& trace, MemoryCategory category) {
  int64_t sum = 0;
  for (const MemoryEvent& event : trace) sum += event.category == category ? event.bytes : 0;
  return sum;
}

ModelSpec small_model() {
  ModelConfig config;
  apply_family(config, ModelFamily::llama);
  config.vocab_size = 512;
  config.num_layers = 1;
  config.hidden_size = 256;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.ffn_size = 512;
  return spec_of(config);
}

constexpr int64_t kRows = 64;
LayerConditions alone() { return {.micro_batch = 1, .seq_len = kRows, .plan = {.data = 1}}; }

int64_t kept(const BlockSpec& block) {
  return change(describe_block(small_model(), block, alone(), false).forward, MemoryCategory::activations);
}

BlockSpec with_experts(BlockSpec block, int64_t shared) {
  block.mixture = MixtureSpec{.routing = {.num_experts = 8, .experts_per_token = 2, .z_loss = 0.01},
                              .expert = {.activation = ActivationKind::swiglu, .width = 128},
                              .shared = {}};
  if (shared > 0)
    block.mixture->shared = FeedForwardSpec{.activation = ActivationKind::swiglu, .width = shared};
  return block;
}

// A block takes its output and the gradient of its input, and gives back as much.
TEST(DescribedActivations, LeaveNothingBehind) {
  const ModelSpec model = small_model();
  BlockSpec unusual = model.blocks[0];
  unusual.norm_placement = NormPlacement::both;
  unusual.attention.qk_norm = NormSpec{.kind = NormKind::rms_norm, .bias = false};
  BlockSpec behind = model.blocks[0], side_by_side = with_experts(model.blocks[0], 64);
  behind.norm_placement = NormPlacement::after;
  behind.attention.qk_norm = unusual.attention.qk_norm;
  behind.attention.norms_whole_projection = true;
  side_by_side.parallel_residual = true;
  side_by_side.mixture->expert.activation = ActivationKind::gelu_erf;
  LayerConditions divided = alone();
  divided.plan = {.data = 4, .tensor = 2, .expert = 4, .sequence = true, .tensor_chunks = 2};
  LayerConditions ring = alone();
  ring.precision = DType::bf16;
  ring.plan = {.data = 1, .context = 4};
  ring.recomputes_core = true;
  for (const LayerConditions& conditions : {alone(), divided, ring}) {
    for (const BlockSpec& block : {model.blocks[0], unusual, behind, side_by_side,
                                   with_experts(model.blocks[0], 0), with_experts(model.blocks[0], 64)}) {
      for (const bool recomputed : {false, true}) {
        const LayerTraces traces = describe_block(model, block, conditions, recomputed);
        for (const auto category : {MemoryCategory::activations, MemoryCategory::buffers}) {
          EXPECT_EQ(change(traces.forward, category) + change(traces.backward_input, category) +
                        change(traces.backward_weight, category),
                    0);
        }
        EXPECT_EQ(change(traces.forward, MemoryCategory::activations) == boundary_bytes(model, conditions),
                  recomputed)
            << "of a block that is recomputed its output is all that comes on top of its input";
      }
    }
  }
}

TEST(DescribedActivations, NormsBehindPartsAndOfHeadsAreKept) {
  const BlockSpec usual = small_model().blocks[0];
  const int64_t x = kRows * 256 * 4, scale = kRows * 4;
  BlockSpec block = usual;
  block.norm_placement = NormPlacement::both;
  EXPECT_EQ(kept(block), kept(usual) + 2 * (x + scale)) << "their inputs and scales";
  block = usual;
  block.attention.qk_norm =
      NormSpec{.kind = NormKind::rms_norm, .bias = false};  // 4 heads of queries and 2 of keys, 64 wide
  EXPECT_EQ(kept(block), kept(usual) + kRows * 6 * 64 * 4 + kRows * 6 * 4);
  block.attention.norms_whole_projection = true;  // one scale of all heads, for queries and for keys
  EXPECT_EQ(kept(block), kept(usual) + kRows * 6 * 64 * 4 + kRows * 2 * 4);
  block = usual;
  block.norm_placement = NormPlacement::after;
  EXPECT_EQ(kept(block), kept(usual)) << "what a part makes in the place of what it takes";
  block = usual;
  block.parallel_residual = true;
  EXPECT_EQ(kept(block), kept(usual) - x) << "both norms have the block's input, and there is no sum between";
  block = usual;
  block.attention.head_dim = 128;  // qkv of 8 heads and the output of 4
  EXPECT_EQ(kept(block), kept(usual) + kRows * 12 * 64 * 4);
}

TEST(DescribedActivations, AMixtureKeepsTheRowsOfItsExperts) {
  const BlockSpec dense = small_model().blocks[0];
  const int64_t rows = 2 * kRows;  // 2 choices each: in, back, and 3 x 128 of SwiGLU
  const int64_t experts = rows * (2 * 256 + 3 * 128) * 4, feed_forward = kRows * 3 * 512 * 4;
  // Logits, their log-sums, choices, gates, slots.
  const int64_t router = kRows * (8 + 1 + 2 + 2 + 2) * 4;
  EXPECT_EQ(kept(with_experts(dense, 0)), kept(dense) - feed_forward + experts + router);
  EXPECT_EQ(kept(with_experts(dense, 64)), kept(with_experts(dense, 0)) + kRows * 3 * 64 * 4);
}

TEST(MixtureSizes, TheWorstLoadIsAllThatMayBeChosen) {
  const MixtureSpec mixture = *with_experts(small_model().blocks[0], 0).mixture;
  LayerConditions conditions = alone();
  conditions.plan = {.data = 8, .expert = 8};  // one expert a rank
  EXPECT_EQ(MixtureSizes(mixture, conditions).received, 2 * kRows);
  conditions.load = ExpertLoad::worst;
  EXPECT_EQ(MixtureSizes(mixture, conditions).received, 8 * kRows) << "no token chooses an expert twice";
  conditions.plan.expert = 2;
  EXPECT_EQ(MixtureSizes(mixture, conditions).received, 2 * 2 * kRows);
  MixtureSpec limited = mixture;
  limited.routing.capacity = CapacityMode::drop;
  limited.routing.capacity_factor = 1;
  conditions.plan.expert = 8;
  EXPECT_EQ(MixtureSizes(limited, conditions).received, 8 * 2 * kRows / 8)
      << "of each rank's sequence an eighth";
  limited.routing.capacity = CapacityMode::pad;
  EXPECT_EQ(MixtureSizes(limited, conditions).received, 2 * kRows);
}

}  // namespace
}  // namespace trireme::test
