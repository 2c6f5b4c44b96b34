// Predicted memory: by hand, and against the allocators of real runs.
#include "models/cost/memory_estimate.h"

#include <utility>

#include <gtest/gtest.h>

#include "models/cost/model_size.h"
#include "models/cost/state_memory.h"
#include "models/families/family.h"
#include "models/families/presets.h"
#include "tests/support/memory_run.h"

namespace trireme::test {
namespace {

constexpr int64_t kKiB = 1 << 10, kMiB = 1 << 20;

// One x (1,024 rows of the hidden width) is 1 MiB in f32, and all tensors are sizes that the allocator has.
MemoryInputs round_inputs() {
  MemoryInputs in;
  apply_family(in.model, ModelFamily::gpt2);
  in.model.vocab_size = 1024;
  in.model.num_layers = 3;
  in.model.hidden_size = 256;
  in.model.num_heads = in.model.num_kv_heads = 4;
  in.model.ffn_size = 1024;
  in.micro_batch = 4;
  in.seq_len = 256;
  return in;
}

int64_t activations(const MemoryInputs& in) { return estimate_memory(in)[MemoryCategory::activations]; }

TEST(MemoryEstimate, ActivationsByHand) {
  MemoryInputs in = round_inputs();
  // A block keeps 4 x, qkv 3, attention's output 1, feed-forward 4 + 4; norms' means and scales, lse of 4
  // heads. The head: x, logits 4, 3 gradients and inputs; a mean and a scale.
  const int64_t block = 16 * kMiB + (4 + 4) * 4 * kKiB, head = (1 + 4 + 3) * kMiB + 8 * kKiB;
  EXPECT_EQ(activations(in), 3 * block + head);
  in.precision = DType::bf16;
  EXPECT_EQ(activations(in), 3 * (8 * kMiB + 32 * kKiB) + 4 * kMiB + 8 * kKiB);
  in.precision = DType::f32;
  in.recomputation.mode = RecomputeMode::selective;
  EXPECT_EQ(activations(in), 3 * (block - kMiB - 16 * kKiB) + head);
  // The last block at work in attention: dy, the gradients of both norms' branches, dout and dqkv; the
  // second norm's statistics have gone, and its sum makes room for its gradient.
  in.recomputation.mode = RecomputeMode::full;
  EXPECT_EQ(activations(in), 2 * kMiB + block + 6 * kMiB - 8 * kKiB);
  in.recomputation.every = 2;  // blocks 0 and 2; the head again, beside all of block 1
  in.model.num_layers = 2;
  in.model.vocab_size = 16 * 1024;
  EXPECT_EQ(activations(in), kMiB + block + head + 60 * kMiB);
}

TEST(MemoryEstimate, GrowsWithTokens) {
  MemoryInputs in = round_inputs();
  const int64_t one = activations(in);
  in.micro_batch *= 8;
  EXPECT_EQ(activations(in), 8 * one);
}

TEST(MemoryEstimate, ContextRanksHoldAShareOfTheTokensAndWhatGoesRound) {
  MemoryInputs in = round_inputs();
  const int64_t one = activations(in), before = estimate_memory(in)[MemoryCategory::buffers];
  in.plan.context = 4;
  EXPECT_EQ(activations(in), one / 4);
  // A block of keys and values of 256 tokens is 512 KiB: two, two gradients, and half of one for the queries.
  // At work is a block's own part: gradients of all its keys and values, and of half the queries.
  const int64_t ring = 2 * 512 * kKiB + 2 * 512 * kKiB + 256 * kKiB + (512 + 128) * kKiB;
  EXPECT_NEAR(static_cast<double>(estimate_memory(in)[MemoryCategory::buffers]), static_cast<double>(ring),
              static_cast<double>(before));
}

TEST(MemoryEstimate, CudnnsWorkspaceIsCountedUpToItsLimit) {
  MemoryInputs in = round_inputs();
  in.precision = DType::bf16;
  const auto buffers = [&] { return estimate_memory(in)[MemoryCategory::buffers]; };
  // 16 heads of 256 rows: sums of rows in f32, scores' gradients in bf16, queries' of 64 in f32.
  const int64_t ids = 3 * 4 * kKiB, rows = 16 * kKiB, scores = 2 * kMiB, queries = kMiB;
  in.attention_workspace = rows + scores;
  EXPECT_EQ(buffers(), ids + rows + scores);
  --in.attention_workspace;
  EXPECT_EQ(buffers(), ids + rows + queries);
  in.attention_workspace = 512 * kKiB;
  EXPECT_EQ(buffers(), ids + 512 * kKiB);
  in.attention_workspace = 256 * kMiB;
  in.deterministic_attention = false;
  EXPECT_EQ(buffers(), ids + rows + queries);
  in.deterministic_attention = true;
  in.model.num_kv_heads = 2;  // gradients of keys and values for each query head first
  EXPECT_EQ(buffers(), ids + rows + scores + 2 * 512 * kKiB);
  in.model.num_kv_heads = 4;
  in.seq_len = 129;  // in tiles of 64 queries and 128 keys
  EXPECT_NEAR(static_cast<double>(buffers()), 16 * 192 * 256 * 2, 64 * kKiB);
}

TEST(MemoryEstimate, BatchesReadInAdvanceHaveTheirIdsAndTargets) {
  MemoryInputs in = round_inputs();
  in.accumulation = 3;
  const auto buffers = [&] { return estimate_memory(in)[MemoryCategory::buffers]; };
  const int64_t rows = 4 * kKiB, none = buffers();
  in.prefetch = 2;
  EXPECT_EQ(buffers() - none, (2 * 3 * 3 + 1) * rows - 3 * 3 * rows) << "and the positions of one";
  in.prefetch = 1;
  EXPECT_EQ(buffers() - none, (2 * 2 * 3 + 1) * rows - 3 * 3 * rows);
  in.separate_documents = true;
  EXPECT_EQ(buffers() - none, (4 * 2 * 3 + 1) * rows - 3 * 3 * rows) << "and where their documents begin";
}

TEST(MemoryEstimate, AbsurdSizesStayPositive) {
  MemoryInputs in = round_inputs();
  in.micro_batch = 1 << 24;
  in.seq_len = 1 << 28;
  in.accumulation = int64_t{1} << 32;
  in.model.num_layers = 1 << 20;
  EXPECT_GT(activations(in), int64_t{1} << 50);
  EXPECT_GT(estimate_memory(in)[MemoryCategory::buffers], int64_t{1} << 50);
}

TEST(MemoryEstimate, BlocksAreTheParametersOfTheModel) {
  for (const char* name : {"gpt2-124m", "llama3-8b", "llama-10m"}) {
    MemoryInputs in;
    in.model = find_preset(name)->config;
    if (in.model.vocab_size == 0) in.model.vocab_size = 300;
    int64_t numel = 0, expected = 0;
    for (const StateBlock& block : state_blocks(in)) numel += block.numel;
    for (const ParameterInfo& row : parameter_table(in.model)) expected += row.count();
    EXPECT_EQ(numel, expected) << name;
  }
}

TEST(MemoryEstimate, TensorRanksHoldAShareOfWhatIsDivided) {
  MemoryInputs in;
  in.model = find_preset("gpt2-124m")->config;
  in.plan.tensor = 2;
  int64_t numel = 0;
  for (const StateBlock& block : state_blocks(in)) numel += block.numel;
  // Whole on every rank: the positions, a layer's two norms with biases, output and down bias; the final
  // norm.
  const int64_t whole = 1024 * 768 + 12 * 6 * 768 + 2 * 768, all = 124'439'808;
  EXPECT_EQ(numel, whole + (all - whole + 768) / 2) << "of 50257 rows the larger half";
}

struct Case {
  const char* name;
  int data, tensor;
  bool sequence;
  int zero_stage;
  Recomputation recomputation = {};
  int64_t accumulation = 1;
  int pipeline = 1;
  ScheduleKind schedule = ScheduleKind::one_f_one_b;
};

class MemoryOfRuns : public testing::TestWithParam<Case> {};

LayoutRun run_of(const Case& c, ModelFamily family, DType precision) {
  LayoutRun run;
  run.model = tiny_model(family);
  run.model.num_layers = 4;
  run.model.hidden_size = 192;
  run.model.ffn_size = 500;
  run.model.vocab_size = 1031;
  run.model.max_positions = 96;
  run.plan = {.data = c.data, .tensor = c.tensor, .sequence = c.sequence};
  run.precision = precision;
  run.recomputation = c.recomputation;
  run.seq_len = 96;
  run.micro_batch = 4;
  run.global_batch = 4 * c.data * c.accumulation;
  run.plan.zero_stage = c.zero_stage;
  run.plan.pipeline = c.pipeline;
  run.plan.schedule = c.schedule;
  if (c.schedule == ScheduleKind::interleaved) run.plan.virtual_stages = 2;
  run.plan.bucket_mib = in_mib(300 * kKiB);
  return run;
}

TEST_P(MemoryOfRuns, IsAsPredicted) {
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama}) {
    for (const DType precision : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(fmt::format("{}, {}", to_string(family), to_string(precision)));
      expect_memory_as_predicted(run_of(GetParam(), family, precision));
    }
  }
}

constexpr Recomputation kSelective{RecomputeMode::selective}, kFull{RecomputeMode::full},
    kEverySecond{RecomputeMode::full, 2}, kEveryThird{RecomputeMode::full, 3};
INSTANTIATE_TEST_SUITE_P(
    Layouts, MemoryOfRuns,
    testing::Values(Case{"one_rank", 1, 1, false, 0}, Case{"one_rank_x3", 1, 1, false, 0, {}, 3},
                    Case{"selective", 1, 1, false, 0, kSelective}, Case{"full", 1, 1, false, 0, kFull},
                    Case{"every_second", 1, 1, false, 0, kEverySecond},
                    Case{"every_third", 1, 1, false, 0, kEveryThird}, Case{"dp2", 2, 1, false, 0},
                    Case{"dp2_zero1", 2, 1, false, 1}, Case{"dp3_zero2", 3, 1, false, 2},
                    Case{"dp2_zero3", 2, 1, false, 3}, Case{"dp2_zero3_x2_full", 2, 1, false, 3, kFull, 2},
                    Case{"dp2_zero2_x2_full", 2, 1, false, 2, kFull, 2}, Case{"tp2", 1, 2, false, 0},
                    Case{"tp2_sequence", 1, 2, true, 0}, Case{"tp4_sequence", 1, 4, true, 0},
                    Case{"tp2_selective", 1, 2, false, 0, kSelective},
                    Case{"tp2_sequence_full", 1, 2, true, 0, kFull}, Case{"pp2", 1, 1, false, 0, {}, 4, 2},
                    Case{"pp2_gpipe", 1, 1, false, 0, {}, 4, 2, ScheduleKind::gpipe},
                    Case{"pp2_zbh1", 1, 1, false, 0, {}, 4, 2, ScheduleKind::zb_h1},
                    Case{"pp2_interleaved", 1, 1, false, 0, {}, 4, 2, ScheduleKind::interleaved},
                    Case{"pp4_dp2_zero1", 2, 1, false, 1, {}, 3, 4},
                    Case{"pp2_tp2_sequence", 1, 2, true, 0, {}, 3, 2},
                    Case{"dp2_tp2_sequence_zero2_every_second", 2, 2, true, 2, kEverySecond}),
    [](const auto& p) { return p.param.name; });

// Wide enough for the factors to be far above the library's workspace, which differs between machines.
TEST(MemoryOfProductsIn8Bits, IsAsPredicted) {
  for (const ModelFamily family : {ModelFamily::gpt2, ModelFamily::llama}) {
    for (const int tensor : {1, 2}) {
      LayoutRun run = run_of({"", 1, tensor, tensor == 2, 0}, family, DType::bf16);
      run.model.num_layers = 1;
      run.model.hidden_size = 768;
      run.model.ffn_size = 2048;
      run.float8 = true;
      expect_memory_as_predicted(run);
      const MemoryComparison memory = compare_memory(run);
      EXPECT_GE(memory.predicted[MemoryCategory::buffers], 3 * kMiB) << to_string(family) << " tp " << tensor;
    }
  }
}

// What waits for its weight part keeps less than was recomputed.
TEST(MemoryOfSplitBackwardPasses, IsAsPredictedWithRecomputation) {
  const MemoryComparison memory = compare_memory(
      run_of({"", 1, 1, false, 0, kFull, 4, 2, ScheduleKind::zb_h1}, ModelFamily::llama, DType::f32));
  const auto measured = static_cast<double>(memory.measured[MemoryCategory::activations]),
             predicted = static_cast<double>(memory.predicted[MemoryCategory::activations]);
  EXPECT_NEAR(predicted, measured, 0.02 * measured);
}

// Of a vocabulary whose logits are most of the memory.
TEST(MemoryOfLogitsInParts, IsAsPredictedWithin5Percent) {
  for (const Case& c : {Case{"one", 1, 1, false, 0}, Case{"tp2_sequence", 1, 2, true, 0},
                        Case{"pp2_full", 1, 1, false, 0, kFull, 4, 2}}) {
    LayoutRun run = run_of(c, ModelFamily::llama, c.tensor > 1 ? DType::bf16 : DType::f32);
    SCOPED_TRACE(c.name);
    run.model.num_layers = 2;
    run.model.hidden_size = 96;
    run.model.ffn_size = 200;
    run.model.vocab_size = 4099;
    run.end_of_text = 5;
    run.loss = {1e-3, 0.1, 50};
    const MemoryComparison memory = compare_memory(run);
    const auto measured = static_cast<double>(memory.measured[MemoryCategory::activations]),
               predicted = static_cast<double>(memory.predicted[MemoryCategory::activations]);
    EXPECT_NEAR(predicted, measured, 0.05 * measured);
    const double logits = run.micro_batch * run.seq_len * run.model.vocab_size *
                          static_cast<double>(size_of(run.precision)) / c.tensor;
    EXPECT_LT(measured, logits) << "of all rows alone";
  }
}

// A document as long as its sequence takes what is predicted, short ones less: what goes round depends on
// them.
TEST(MemoryOfPackedRings, IsThatOfTheLongestDocuments) {
  for (const int ranks : {2, 4}) {
    LayoutRun run;
    run.model = tiny_model(ModelFamily::llama);
    run.model.num_layers = 1;
    run.model.num_heads = run.model.num_kv_heads = 2;
    run.model.hidden_size = 128;
    run.plan = {.data = 1, .context = ranks};
    run.seq_len = run.model.max_positions = 1024 * ranks;
    run.micro_batch = run.global_batch = 2;
    run.end_of_text = 5;
    const auto buffers = [&](uint32_t tokens_a_document) {
      run.tokens_a_document = tokens_a_document;
      const MemoryComparison memory = compare_memory(run);
      return std::pair(static_cast<double>(memory.measured[MemoryCategory::buffers]),
                       static_cast<double>(memory.predicted[MemoryCategory::buffers]));
    };
    const auto [longest, predicted] = buffers(0);
    EXPECT_NEAR(predicted, longest, 0.05 * longest) << ranks << " ranks";
    EXPECT_LT(buffers(8).first, 0.8 * longest) << ranks << " ranks";
  }
}

TEST(MemoryOfSentGradients, IsAsPredicted) {
  LayoutRun run = run_of({"", 2, 1, false, 0}, ModelFamily::llama, DType::f32);
  run.plan.gradient_dtype = DType::bf16;
  expect_memory_as_predicted(run);
  // Three buckets in half the bytes, beside what else is there.
  EXPECT_GT(compare_memory(run).predicted[MemoryCategory::buffers],
            3 * sharding_of(run.plan).bucket_bytes / 2);
}

// Where a block's own work, not the head's, is the most, and where a single block is all.
TEST(MemoryOfSmallVocabularies, FollowTheBlockWhereTheVocabularyIsSmall) {
  for (const int64_t layers : {1, 2}) {
    for (const Recomputation& recomputation : {Recomputation{}, kSelective, kFull}) {
      for (const bool sequence : {false, true}) {
        LayoutRun run =
            run_of({"", 1, sequence ? 2 : 1, sequence, 0, recomputation}, ModelFamily::gpt2, DType::f32);
        run.model.num_layers = layers;
        run.model.vocab_size = 37;
        expect_memory_as_predicted(run);
        run.model = tiny_model(ModelFamily::llama);
        run.model.max_positions = 96;
        run.model.num_layers = layers;
        run.model.hidden_size = 256;
        expect_memory_as_predicted(run);
      }
    }
  }
}

}  // namespace
}  // namespace trireme::test
