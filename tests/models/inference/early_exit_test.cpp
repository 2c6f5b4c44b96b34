// Early exit at generation: drafts of the model's first blocks change nothing; rows that leave by a rule have
// the logits, and leave the keys and values, of the same done row by row.
#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "models/inference/inference_model.h"
#include "models/inference/speculation/drafts.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/expect_error.h"
#include "tests/support/heard_texts.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

constexpr int64_t kLongest = 96;

GeneratorOptions with_self(GeneratorOptions options, DraftSource* drafts, int64_t blocks) {
  options.max_draft_tokens = 4;
  options.drafts = drafts;
  options.draft_blocks = blocks;
  options.least_likely_draft = 0.02;
  return options;
}

class EarlyExitOf : public testing::TestWithParam<NamedModel> {
 protected:
  CachedRank rank(const CacheOptions& options, int num_threads = 1) {
    return CachedRank(*self_, {.data = 1}, GetParam().config, weights_.path(), options, num_threads);
  }
  int64_t vocab() const { return GetParam().config.vocab_size; }

  std::unique_ptr<Communicator> self_ = make_self_communicator();
  TrainedWeights weights_{GetParam().config, 30};
};

// Batches, sampling, filters, scores, prefixes that are found again, blocks that run out.
TEST_P(EarlyExitOf, DraftsOfTheFirstBlocksChangeNothing) {
  CachedRank large = rank({.num_blocks = 100}), small = rank({.num_blocks = 6, .block_tokens = 16}, 2);
  const auto requests = [&] { return mixed_requests(vocab(), 10, 2); };
  GenerationCounts plain, all, few;
  const auto expected = hear(large, {}, requests(), &plain);
  const auto source = unwritten_drafts(), paying = paying_drafts(unwritten_drafts());
  EXPECT_EQ(hear(large, with_self({}, source.get(), 3), requests(), &all), expected);
  EXPECT_LT(all.passes, plain.passes);
  EXPECT_GT(all.accepted_tokens, 0);
  EXPECT_LT(all.accepted_tokens, all.drafted_tokens);
  EXPECT_EQ(
      hear(small, with_self({.max_batch_tokens = 30, .max_sequences = 6}, source.get(), 1), requests(), &few),
      expected);
  EXPECT_GT(few.preemptions, 0);
  EXPECT_GT(few.reused_tokens, 0);
  EXPECT_GT(few.accepted_tokens, 0);
  EXPECT_EQ(hear(large, with_self({}, paying.get(), 2), requests()), expected);
  GeneratorOptions by_rule = with_self({}, source.get(), 1);
  by_rule.least_likely_draft = 0;
  EXPECT_EQ(hear(large, by_rule, requests()), expected);
}

/// How likely the likeliest token is.
double confidence_of(const std::vector<float>& logits) {
  const double largest = std::ranges::max(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return 1 / sum;
}

/// By the rule, one row after another; keys and values of blocks that a row does not go through are what each
/// stores that is run on the row's stream at its exit alone.
class RowByRow {
 public:
  RowByRow(CachedRank& rank, const ExitRule& rule, std::vector<int32_t> blocks)
      : rank_(rank), rule_(rule), blocks_(std::move(blocks)) {}

  /// Logits of the next row.
  std::vector<float> row(const int32_t& token, bool may_leave) {
    const SequenceChunk chunk{.tokens = {&token, 1}, .start = place_++, .blocks = blocks_};
    const int64_t all = rank_.cached.model().spec().num_blocks();
    int64_t at = 0;
    Tensor x;
    std::vector<float> logits;
    for (const int64_t exit : rule_.exits) {
      if (!may_leave) break;
      x = rank_.cached.streams(rank_.ctx, {&chunk, 1}, x, at, exit);
      at = exit;
      logits = to_vector(rank_.cached.head(rank_.ctx, x));
      confidences.push_back(confidence_of(logits));
      if (confidences.back() <= rule_.confidence) continue;
      for (; at < all; ++at) (void)rank_.cached.streams(rank_.ctx, {&chunk, 1}, x, at, at + 1);
      num_layers += exit;
      return logits;
    }
    num_layers += all;
    return to_vector(rank_.cached.head(rank_.ctx, rank_.cached.streams(rank_.ctx, {&chunk, 1}, x, at, all)));
  }

  std::vector<double> confidences;
  int64_t num_layers = 0;

 private:
  CachedRank& rank_;
  ExitRule rule_;
  std::vector<int32_t> blocks_;
  int64_t place_ = 0;
};

/// About half of the rows are above it at some exit.
double some_confidence(CachedRank& rank, const std::vector<int32_t>& tokens) {
  std::vector<int32_t> blocks(static_cast<size_t>(rank.cached.options().num_blocks));
  std::iota(blocks.begin(), blocks.end(), 0);
  RowByRow all(rank, {{1}, 1}, blocks);
  for (const int32_t& token : tokens) (void)all.row(token, true);
  std::ranges::sort(all.confidences);
  return all.confidences[all.confidences.size() * 6 / 10] + 1e-9;
}

TEST_P(EarlyExitOf, RowsLeaveAsIfEachWasAPass) {
  const auto text = some_text(vocab(), 70, 5);
  CachedRank plain = rank({.num_blocks = 6, .block_tokens = 16});
  const ExitRule rule{{1, 3}, some_confidence(plain, text)};
  std::vector<int32_t> blocks{3, 0, 5, 1, 4};
  CachedRank leaving = rank({.num_blocks = 6, .block_tokens = 16, .exit = rule}, 3);
  const std::span all(text);
  for (const std::vector<int64_t>& cuts : {std::vector<int64_t>{70}, {1, 16, 21, 70}, {40, 41, 42, 43, 70}}) {
    RowByRow expected(plain, rule, blocks);
    const ExitCounts before = leaving.cached.exit_counts();
    int64_t begin = 0;
    for (const int64_t end : cuts) {
      const int64_t count = end - begin, may_leave = std::min<int64_t>(count, end - 5 > 0 ? end - 5 : 0);
      const SequenceChunk chunk{.tokens = all.subspan(static_cast<size_t>(begin), static_cast<size_t>(count)),
                                .start = begin,
                                .blocks = blocks,
                                .num_logits = (count + 1) / 2,
                                .num_leaving = may_leave};
      std::vector<float> of_rows;
      for (int64_t i = 0; i < count; ++i) {
        const auto row = expected.row(text[static_cast<size_t>(begin + i)], i >= count - may_leave);
        if (i >= count - chunk.num_logits) of_rows.insert(of_rows.end(), row.begin(), row.end());
      }
      EXPECT_EQ(to_vector(leaving.cached.logits(leaving.ctx, {&chunk, 1})), of_rows) << end;
      begin = end;
    }
    const ExitCounts& after = leaving.cached.exit_counts();
    const int64_t rows = after.rows - before.rows;
    EXPECT_EQ(rows, 65);
    EXPECT_EQ(after.blocks - before.blocks + 4 * (70 - rows), expected.num_layers);
    EXPECT_LT(expected.num_layers, 4 * 70);
    EXPECT_GT(expected.num_layers, 4 * 70 - 3 * rows);
  }
}

// Whatever runs beside it, whether blocks run out, prefixes are shared or tokens drafted.
TEST_P(EarlyExitOf, ATextWithExitsDependsOnNothingElse) {
  CachedRank plain = rank({.num_blocks = 100});
  const ExitRule rule{{1, 2}, some_confidence(plain, some_text(vocab(), 90, 6))};
  CachedRank large = rank({.num_blocks = 100, .exit = rule}),
             small = rank({.num_blocks = 6, .block_tokens = 16, .exit = rule}, 2);
  const auto requests = [&] { return mixed_requests(vocab(), 10, 4); };
  GenerationCounts counts;
  const auto expected = hear(large, {.max_sequences = 1, .reuses_prefixes = false}, requests(), &counts);
  EXPECT_NE(expected, hear(plain, {}, requests()));
  int64_t rows = 0;
  for (const HeardText& text : expected) rows += std::max<int64_t>(0, std::ssize(text.tokens) - 1);
  EXPECT_EQ(counts.exit_rows, rows);
  EXPECT_GT(counts.exit_blocks, rows);
  EXPECT_LT(counts.exit_blocks, 4 * rows);
  EXPECT_EQ(hear(large, {}, requests(), &counts), expected);
  const GeneratorOptions few{.max_batch_tokens = 30, .max_sequences = 6};
  EXPECT_EQ(hear(small, few, requests(), &counts), expected);
  EXPECT_GT(counts.preemptions, 0);
  EXPECT_GT(counts.reused_tokens, 0);
  const auto ngrams = ngram_drafts({.longest = 2, .shortest = 1});
  EXPECT_EQ(hear(small, with_self(few, ngrams.get(), 0), requests(), &counts), expected);
  EXPECT_GT(counts.accepted_tokens, 0);
}

TEST_P(EarlyExitOf, ACertaintyOfOneIsTheWholeModel) {
  CachedRank plain = rank({.num_blocks = 60}), certain = rank({.num_blocks = 60, .exit = {{1, 2, 3}, 1.0}});
  GenerationCounts counts;
  EXPECT_EQ(hear(certain, {}, mixed_requests(vocab(), 8, 3), &counts),
            hear(plain, {}, mixed_requests(vocab(), 8, 3)));
  EXPECT_GT(counts.exit_rows, 0);
  EXPECT_EQ(counts.exit_blocks, 4 * counts.exit_rows);
}

// Norms behind and before, windows, experts.
std::vector<NamedModel> exit_models() {
  auto models = inference_models(kLongest);
  std::erase_if(models, [](const NamedModel& model) {
    return model.name == "shared_layers" || model.name == "grouped_queries" || model.name == "gpt2";
  });
  return models;
}
INSTANTIATE_TEST_SUITE_P(Models, EarlyExitOf, testing::ValuesIn(exit_models()),
                         [](const auto& p) { return p.param.name; });

TEST(EarlyExit, OfPackedWeightsChangesNothing) {
  const ModelConfig config = inference_models(kLongest)[1].config;
  const TrainedWeights weights(config, 30);
  const auto self = make_self_communicator();
  const auto requests = some_requests(config.vocab_size, 8, 3);
  const auto source = unwritten_drafts();
  for (const ops::PackedSpec& spec :
       {ops::PackedSpec{ops::PackedFormat::int8, 0}, ops::PackedSpec{ops::PackedFormat::int4, 32, false}}) {
    Context ctx;
    InferenceModel model(ctx, *self, weights.path(), config, {.weights = spec});
    for (const auto type : {ops::CacheType::plain, ops::CacheType::int8}) {
      CachedModel cached(ctx, model.parallel(), model.model(),
                         {.num_blocks = 40, .block_tokens = 16, .type = type});
      GenerationCounts counts;
      EXPECT_EQ(generate(ctx, model.parallel(), cached, with_self({}, source.get(), 2), requests, &counts),
                generate(ctx, model.parallel(), cached, {}, requests));
      EXPECT_GT(counts.drafted_tokens, 0);
    }
  }
}

TEST(EarlyExit, OverRanks) {
  struct Case {
    size_t model;
    ParallelPlan plan;
  };
  for (const Case& c : {Case{0, {.data = 1, .tensor = 2}}, Case{2, {.data = 2, .expert = 2}}}) {
    const ModelConfig config = inference_models(kLongest)[c.model].config;
    const TrainedWeights weights(config, 30);
    const CacheOptions cache{.num_blocks = 9, .block_tokens = 16};
    const auto requests = some_requests(config.vocab_size, 10, 1);
    std::vector<Texts> left(2);
    run_thread_ranks(2, [&](Communicator& world) {
      CachedRank rank(world, c.plan, config, weights.path(), cache);
      const Texts expected = generate(rank, {.max_sequences = 6}, requests);
      const auto source = world.rank() == 0 ? unwritten_drafts() : nullptr;
      GenerationCounts counts;
      EXPECT_EQ(generate(rank, with_self({.max_sequences = 6}, source.get(), 2), requests, &counts),
                expected);
      EXPECT_GT(counts.accepted_tokens, 0);
      CachedModel leaving(rank.ctx, rank.session.parallel(), rank.session.model(),
                          {.num_blocks = 9, .block_tokens = 16, .exit = {{2}, 0.3}});
      left[static_cast<size_t>(world.rank())] =
          generate(rank.ctx, rank.session.parallel(), leaving, {.max_sequences = 6}, requests, &counts);
      EXPECT_LT(counts.exit_blocks, 4 * counts.exit_rows);
    });
    EXPECT_EQ(left[0], left[1]);
  }
}

TEST(EarlyExit, IsRefusedWhereItCannotBe) {
  const ModelConfig config = inference_models(kLongest).front().config;
  run_thread_ranks(2, [&](Communicator& world) {
    const ParallelPlan plan{.data = 1, .pipeline = 2};
    expect_error(ExitCode::usage, {"parallel.pipeline is 2", "allowed: 1"}, [&] {
      CachedRank(world, plan, config, "", {.num_blocks = 4, .exit = {{1}, 0.5}});
    });
    CachedRank rank(world, plan, config, "", {.num_blocks = 4});
    const auto source = unwritten_drafts();
    expect_error(ExitCode::usage, {"parallel.pipeline is 2", "first blocks"}, [&] {
      Generator(rank.ctx, rank.session.parallel(), rank.cached, with_self({}, source.get(), 1));
    });
  });
  const auto self = make_self_communicator();
  const auto drafts = unwritten_drafts();
  CachedRank rank(*self, {.data = 1}, config, "", {.num_blocks = 4, .exit = {{1}, 0.5}});
  expect_error(ExitCode::usage, {"drafts of the first 2 blocks", "0.5", "one of the two"}, [&] {
    Generator(rank.ctx, rank.session.parallel(), rank.cached, with_self({}, drafts.get(), 2));
  });
}

}  // namespace
}  // namespace trireme::test
