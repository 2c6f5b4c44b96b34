// Tensor and sequence parallelism follow one rank: gradients, norms, losses and weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/transformer/transformer.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/layout_run.h"

namespace trireme::test {
namespace {

struct Case {
  ModelFamily family;
  int data, tensor;
  bool sequence;
  int64_t vocab = 37;
  bool unequal = false;
};

std::string name_of(const testing::TestParamInfo<Case>& p) {
  const Case& c = p.param;
  return fmt::format("{}_dp{}_tp{}{}_vocab{}{}", to_string(c.family), c.data, c.tensor,
                     c.sequence ? "_sequence" : "", c.vocab, c.unequal ? "_unequal" : "");
}

class TensorParallelLayouts : public testing::TestWithParam<Case> {
 protected:
  LayoutRun run() const {
    LayoutRun r;
    r.model = tiny_model(GetParam().family);
    r.model.vocab_size = GetParam().vocab;
    r.unequal_targets = GetParam().unequal;
    r.plan = {.data = GetParam().data, .tensor = GetParam().tensor, .sequence = GetParam().sequence};
    r.plan.bucket_mib = in_mib(4096);
    return r;
  }
  LayoutResult run_layout_of(const LayoutRun& r) const {
    return run_on_threads(GetParam().data * GetParam().tensor, r);
  }
};

TEST_P(TensorParallelLayouts, FollowOneRank) { expect_follows(run_layout_of(run()), run_on_one_rank(run())); }

// Each rank's term is rounded to bf16 before the terms are added. Weights are not compared: AdamW makes full
// steps of what rounding leaves of small gradients.
TEST_P(TensorParallelLayouts, FollowOneRankInBf16AsFarAsItsRoundingGoes) {
  LayoutRun r = run();
  r.precision = DType::bf16;
  LayoutResult result = run_layout_of(r), one = run_on_one_rank(r);
  one.weights.clear();
  for (LayoutResult* either : {&result, &one}) {
    std::erase_if(either->gradients, [](const auto& entry) { return entry.first.ends_with("key.bias"); });
  }
  expect_follows(result, one, {.gradients = 0.03, .losses = 3e-4, .norms = 3e-3, .later = 0.01});
}

TEST_P(TensorParallelLayouts, AreEqualBitForBitFromRunToRun) {
  LayoutRun r = run();
  r.steps = 3;
  const LayoutResult first = run_layout_of(r), second = run_layout_of(r);
  EXPECT_EQ(first.losses, second.losses);
  EXPECT_EQ(first.weights, second.weights);
}

constexpr auto kGpt2 = ModelFamily::gpt2, kLlama = ModelFamily::llama;  // llama: two key-value heads
INSTANTIATE_TEST_SUITE_P(All, TensorParallelLayouts,
                         testing::Values(Case{kGpt2, 1, 2, false}, Case{kGpt2, 1, 2, true},
                                         Case{kGpt2, 1, 4, false, 37, true}, Case{kGpt2, 1, 4, true, 41},
                                         Case{kGpt2, 2, 2, true, 37, true}, Case{kGpt2, 4, 2, false},
                                         Case{kLlama, 1, 2, false, 37, true}, Case{kLlama, 1, 2, true},
                                         Case{kLlama, 1, 4, false}, Case{kLlama, 1, 4, true, 37, true},
                                         Case{kLlama, 2, 2, false, 41}, Case{kLlama, 2, 4, true, 37, true}),
                         name_of);

// Also more chunks than there are rows. A product of few rows may add in another order than one of many, so
// equality is up to rounding.
class TensorChunks : public testing::TestWithParam<std::tuple<ModelFamily, int, bool>> {};

TEST_P(TensorChunks, ChangeRoundingAlone) {
  const auto& [family, size, sequence] = GetParam();
  LayoutRun r;
  r.model = tiny_model(family);
  r.unequal_targets = true;
  r.plan = {.data = 1, .tensor = size, .sequence = sequence};
  const LayoutResult whole = run_on_threads(size, r);
  for (const int chunks : {2, 3, 50}) {
    SCOPED_TRACE(chunks);
    r.plan.tensor_chunks = chunks;
    expect_follows(run_on_threads(size, r), whole, {.gradients = 2e-6, .losses = 1e-6, .norms = 1e-6});
  }
}

INSTANTIATE_TEST_SUITE_P(All, TensorChunks,
                         testing::Values(std::tuple{kGpt2, 2, false}, std::tuple{kGpt2, 2, true},
                                         std::tuple{kLlama, 4, true}, std::tuple{kLlama, 4, false}));

// A head of its own with biases, one key-value head for all ranks, a width that does not divide.
TEST(TensorParallel, OddModelsFollowOneRank) {
  LayoutRun r;
  r.model = tiny_model(ModelFamily::llama);
  r.model.num_kv_heads = 1;
  r.model.ffn_size = 39;
  r.model.bias = BiasKind::all;
  r.steps = 10;
  for (const bool sequence : {false, true}) {
    r.plan = {.tensor = 4, .sequence = sequence};
    expect_follows(run_on_threads(4, r), run_on_one_rank(r));
  }
}

TEST(TensorParallel, ThreeRanksDivideWhatFourHeadsDoNotButSixDo) {
  LayoutRun r;
  r.model = tiny_model(ModelFamily::gpt2);
  r.model.num_heads = r.model.num_kv_heads = 6;
  r.plan = {.tensor = 3, .sequence = true};
  r.steps = 10;
  expect_follows(run_on_threads(3, r), run_on_one_rank(r));
}

TEST(TensorParallel, TheVocabularyOfGpt2DividesByNeitherTwoNorFour) {
  LayoutRun r;
  r.model = tiny_model(ModelFamily::gpt2);
  r.model.vocab_size = 50257;
  r.model.num_layers = 1;
  r.global_batch = 2;
  r.steps = 3;
  const LayoutResult one = run_on_one_rank(r);
  for (const int size : {2, 4}) {
    r.plan = {.tensor = size, .sequence = size == 4};
    expect_follows(run_on_threads(size, r), one);
  }
}

TEST(TensorParallel, LogitsOfEveryRankAreTheWholeVocabularys) {
  const ModelConfig config = tiny_model(ModelFamily::gpt2);
  const std::vector<int32_t> tokens{3, 1, 36, 5, 0, 9, 7};  // rows that no degree divides
  std::vector<float> one;
  std::vector<std::vector<float>> logits(4);
  for (const bool sequence : {false, true}) {
    for (const int size : {1, 2, 4}) {
      run_thread_ranks(size, [&](Communicator& world) {
        const ParallelContext parallel(world, {.data = 1, .tensor = size, .sequence = sequence && size > 1});
        Context ctx;
        Transformer model(ctx, parallel, config, {.max_seq_len = 16, .compute_type = DType::f32});
        model.storage().initialize(ctx, 7);
        const Tensor out = model.logits(ctx, make_micro_batch(ctx, 1, 7, tokens, {}));
        EXPECT_EQ(out.shape(), (Shape{7, 37}));
        logits[static_cast<size_t>(world.rank())].assign(out.data<float>(), out.data<float>() + out.numel());
      });
      if (size == 1) one = logits[0];
      for (int rank = 0; rank < size; ++rank) {
        for (size_t i = 0; i < one.size(); ++i)
          ASSERT_NEAR(logits[static_cast<size_t>(rank)][i], one[i], 1e-6)
              << size << " ranks, " << rank << ", " << i;
      }
    }
  }
}

TEST(TensorParallel, RowsThatDoNotDivideAreADefectInTraining) {
  LayoutRun r;
  r.model = tiny_model(ModelFamily::gpt2);
  r.seq_len = 11;
  r.plan = {.tensor = 2, .sequence = true};
  EXPECT_THROW(run_on_threads(2, r), InternalError);
}

}  // namespace
}  // namespace trireme::test
