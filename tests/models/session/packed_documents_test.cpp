// A row of documents that do not see each other gives the loss and the gradients of its documents one by one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/families/family.h"
#include "models/session/training_session.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "tests/support/drawn_layout.h"
#include "tests/support/layout_run.h"
#include "tests/support/tensors.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

constexpr int32_t kEnd = 36;
constexpr int64_t kLength = 16;

/// Token ids with a document's end at some of them; behind them one more, which is a target alone.
using Row = std::vector<int32_t>;

Row random_row(uint64_t seed, uint32_t tokens_a_document) {
  Row row;
  for (uint64_t t = 0; t <= kLength; ++t) {
    const auto bits = philox4x32(seed, t, 5);
    const bool ends = tokens_a_document > 0 && bits[1] % tokens_a_document == 0;
    row.push_back(ends ? kEnd : static_cast<int32_t>(bits[0] % kEnd));
  }
  return row;
}

MicroBatch packed(Context& ctx, const std::vector<Row>& rows) {
  std::vector<int32_t> tokens, targets;
  for (const Row& row : rows) {
    tokens.insert(tokens.end(), row.begin(), row.end() - 1);
    targets.insert(targets.end(), row.begin() + 1, row.end());
  }
  return make_micro_batch(ctx, std::ssize(rows), kLength, tokens, targets, {}, kEnd);
}

// Each as a batch of its own, cut here once more: a document's end is the target of its last token.
std::vector<MicroBatch> one_by_one(Context& ctx, const std::vector<Row>& rows) {
  std::vector<MicroBatch> all;
  for (const Row& row : rows) {
    std::vector<int32_t> tokens, targets;
    for (size_t t = 0; t + 1 < row.size(); ++t) {
      if (row[t] != kEnd) {
        tokens.push_back(row[t]);
        targets.push_back(row[t + 1]);
      }
      const bool is_last = row[t] == kEnd || t + 2 == row.size();
      if (is_last && !tokens.empty())
        all.push_back(make_micro_batch(ctx, 1, std::ssize(tokens), tokens, targets));
      if (is_last) tokens.clear(), targets.clear();
    }
  }
  return all;
}

struct Passed {
  double loss = 0, added = 0;
  double weight = 0;                                    // of targets
  std::map<std::string, std::vector<float>> gradients;  // sums over tokens
};

Passed pass(const ModelConfig& model, const SessionOptions& options,
            const std::function<std::vector<MicroBatch>(Context&)>& batches) {
  Context ctx;
  const auto self = make_self_communicator();
  TrainingSession session(ctx, *self, {}, model, options);
  auto micro_batches = batches(ctx);
  PendingStep pending = session.step().forward_backward(micro_batches);
  const BatchTotals totals = pending.totals();
  Passed passed{totals.loss_sum, totals.added_sum, totals.weight, {}};
  session.step().for_each_parameter(0, ParameterState::gradient, [&](const Parameter& p, const Tensor& t) {
    passed.gradients[p.name] = to_vector(t);
  });
  session.step().skip(std::move(pending));
  return passed;
}

void expect_same(const ModelConfig& model, const SessionOptions& options, const std::vector<Row>& rows) {
  const Passed together =
      pass(model, options, [&](Context& ctx) { return std::vector<MicroBatch>{packed(ctx, rows)}; });
  const Passed apart = pass(model, options, [&](Context& ctx) { return one_by_one(ctx, rows); });
  EXPECT_EQ(together.weight, apart.weight);
  EXPECT_NEAR(together.loss, apart.loss, 1e-5 * apart.loss);
  EXPECT_NEAR(together.added, apart.added, 1e-5 * apart.added);
  std::string worst;
  EXPECT_LT(largest_difference(together.gradients, apart.gradients, worst), 1e-5) << worst;
}

class PackedDocuments : public testing::TestWithParam<ModelFamily> {
 protected:
  PackedDocuments() : model_(tiny_model(GetParam())) { options_.max_seq_len = kLength; }
  ModelConfig model_;
  SessionOptions options_;
};

TEST_P(PackedDocuments, GiveTheLossAndGradientsOfTheirDocuments) {
  for (const uint32_t tokens_a_document : {2, 4, 9}) {
    SCOPED_TRACE(tokens_a_document);
    expect_same(model_, options_,
                {random_row(tokens_a_document, tokens_a_document), random_row(99, tokens_a_document)});
  }
}

// One that begins before its row and ends behind it; ends alone; an end at the beginning and at the last
// place.
TEST_P(PackedDocuments, AtTheEdgesOfRows) {
  Row ends(kLength + 1, kEnd), outer = random_row(3, 0);
  ends[7] = 5;
  outer[0] = outer[kLength - 1] = kEnd;
  expect_same(model_, options_, {random_row(4, 0), ends, outer});
}

TEST_P(PackedDocuments, WithRecomputationAndAnObjectiveInParts) {
  options_.loss = {0.01, 0.1, 5};
  options_.recomputation.mode = RecomputeMode::full;
  expect_same(model_, options_, {random_row(11, 3), random_row(12, 5)});
}

std::vector<ModelFamily> families() {
  return {ModelFamily::gpt2, ModelFamily::llama, ModelFamily::qwen3, ModelFamily::gemma2};
}
INSTANTIATE_TEST_SUITE_P(, PackedDocuments, testing::ValuesIn(families()),
                         [](const auto& family) { return std::string(to_string(family.param)); });

TEST(PackedDocumentsAlone, ExpertsChooseForEachTokenAsWithoutOthers) {
  ModelConfig model = tiny_model(ModelFamily::llama);
  model.moe = {.num_experts = 4, .expert_ffn_size = 12, .aux_loss = 0};
  expect_same(model, {.max_seq_len = kLength}, {random_row(21, 3), random_row(22, 4)});
}

// Twelve of them: tp, pp with its schedules, cp, ep, ZeRO, recomputation, accumulation.
class PackedLayouts : public testing::TestWithParam<uint64_t> {};

TEST_P(PackedLayouts, FollowOneRank) {
  LayoutRun run = draw_layout(GetParam());
  run.end_of_text = 36;
  run.loss = {0.01, 0.1, GetParam() % 2 == 0 ? 5 : 0};
  run.steps = 4;
  const LayoutResult result = run_on_threads(run.plan.world_size(), run), one = run_on_one_rank(run);
  SCOPED_TRACE(text_of(run));
  expect_follows(result, one);
  for (size_t s = 0; s < one.added.size(); ++s) EXPECT_NEAR(result.added[s], one.added[s], 1e-5) << s;
}

std::vector<uint64_t> seeds() {
  std::vector<uint64_t> all(12);
  for (size_t i = 0; i < all.size(); ++i) all[i] = 31000 + test_seed() + i;
  return all;
}
INSTANTIATE_TEST_SUITE_P(Drawn, PackedLayouts, testing::ValuesIn(seeds()), testing::PrintToStringParamName());

}  // namespace
}  // namespace trireme::test
