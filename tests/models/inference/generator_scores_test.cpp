// Log-probabilities of prompts and texts are the log-softmax of the model's own logits, in chunks of any
// size; alternatives are its largest.
#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "models/inference/row_scores.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/self/self_communicator.h"
#include "tests/support/heard_texts.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

constexpr int64_t kLongest = 96;

std::vector<float> training_logits(CachedRank& rank, const std::vector<int32_t>& tokens) {
  MicroBatch batch = make_micro_batch(rank.ctx, 1, std::ssize(tokens), tokens, {});
  batch.training = false;
  return to_vector(rank.session.model().logits(rank.ctx, batch));
}

/// By sorting all tokens.
HeardText::Scores likeliest_by_sorting(std::span<const float> logits, int64_t count) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto logit = [&](int32_t t) { return logits[static_cast<size_t>(t)]; };
  std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return logit(a) > logit(b); });
  HeardText::Scores scores;
  for (const int32_t t : std::span(order).first(std::min(order.size(), static_cast<size_t>(count))))
    scores.emplace_back(t, std::bit_cast<uint32_t>(RowScores(logits).score(t).log_probability));
  return scores;
}

class ScoresOf : public testing::TestWithParam<NamedModel> {
 protected:
  CachedRank rank(const CacheOptions& options, int num_threads = 1) {
    return CachedRank(*self_, {.data = 1}, GetParam().config, weights_.path(), options, num_threads);
  }
  std::unique_ptr<Communicator> self_ = make_self_communicator();
  TrainedWeights weights_{GetParam().config};
};

TEST_P(ScoresOf, AreTheLogSoftmaxOfATrainingsLogits) {
  const int64_t vocab = GetParam().config.vocab_size;
  CachedRank one = rank({.num_blocks = 12, .block_tokens = 16}, 2);
  const std::vector<int32_t> prompt = some_text(vocab, 41, 7);
  const std::vector<float> all = training_logits(one, prompt);
  const auto row = [&](size_t place) { return std::span(all).subspan(place * 37, 37); };
  ASSERT_EQ(vocab, 37);
  const GenerationRequest scored{
      .prompt = prompt, .max_tokens = 0, .num_alternatives = 3, .scores_prompt = true};
  const GenerationRequest drawn{.prompt = prompt, .max_tokens = 2, .num_alternatives = 50};
  for (const int64_t chunk : {1, 7, 16, 40, 200}) {
    const auto heard = hear(one, {.max_batch_tokens = chunk}, {drawn, scored});
    ASSERT_EQ(heard[1].prompt.size(), 40U);
    for (size_t i = 0; i < 40; ++i) {
      const TokenScore expected = RowScores(row(i)).score(prompt[i + 1]);
      ASSERT_EQ(heard[1].prompt[i],
                std::pair(prompt[i + 1], std::bit_cast<uint32_t>(expected.log_probability)));
      ASSERT_EQ(heard[1].prompt_alternatives[i], likeliest_by_sorting(row(i), 3));
    }
    EXPECT_TRUE(heard[1].tokens.empty());
    EXPECT_EQ(heard[0].alternatives[0], likeliest_by_sorting(row(40), 37));
    EXPECT_EQ(heard[0].tokens[0], heard[0].alternatives[0][0]);  // greedy
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ScoresOf, testing::ValuesIn(inference_models(kLongest)),
                         [](const auto& p) { return p.param.name; });

TEST(RowScores, AreALogSoftmax) {
  std::vector<float> logits;
  for (int i = 0; i < 1013; ++i) logits.push_back(static_cast<float>(7 * std::sin(3.1 * i)));
  logits[5] = -std::numeric_limits<float>::infinity();
  double sum = 0, of_all = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  const RowScores scores(logits);
  for (int32_t t = 0; t < 1013; ++t) {
    const double expected = logits[static_cast<size_t>(t)] - std::log(sum);
    if (t != 5) {
      EXPECT_NEAR(scores.log_probability(t), expected, 1e-12);
    }
    of_all += std::exp(scores.log_probability(t));
  }
  EXPECT_NEAR(of_all, 1, 1e-12);
  EXPECT_EQ(scores.score(5).log_probability, -std::numeric_limits<float>::infinity());
}

TEST(RowScores, TheLikeliestAreInOrder) {
  for (const int64_t size : {1, 2, 513, 4000}) {
    std::vector<float> logits;
    for (int64_t i = 0; i < size; ++i) logits.push_back(std::round(static_cast<float>(i * 7919 % 263)) / 8);
    const RowScores scores(logits);
    for (const int64_t count : {int64_t{0}, int64_t{1}, int64_t{20}, int64_t{1500}, int64_t{1} << 60}) {
      HeardText::Scores found;
      for (const TokenScore& s : scores.likeliest(count))
        found.emplace_back(s.token, std::bit_cast<uint32_t>(s.log_probability));
      EXPECT_EQ(found, likeliest_by_sorting(logits, std::min(count, size))) << count << " of " << size;
    }
  }
}

class ScoredRequests : public testing::Test {
 protected:
  std::unique_ptr<Communicator> self_ = make_self_communicator();
  CachedRank rank_{*self_,
                   {.data = 1},
                   inference_models(kLongest).front().config,
                   "",
                   {.num_blocks = 8, .block_tokens = 16}};
};

TEST_F(ScoredRequests, APromptOfOneTokenIsScoredToo) {
  Generator generator(rank_.ctx, rank_.session.parallel(), rank_.cached, {});
  class Counter final : public GenerationListener {
   public:
    bool on_token(const GeneratedToken&) override { return ++num_tokens > 100; }
    void on_prompt_scores(int64_t, std::span<const ScoredToken> scores) override {
      EXPECT_TRUE(scores.empty());
      ++num_calls;
    }
    int num_tokens = 0, num_calls = 0;
  } counter;
  generator.add({.prompt = {3}, .max_tokens = 0, .scores_prompt = true});
  EXPECT_TRUE(generator.step(counter));
  EXPECT_EQ(generator.finish(0), FinishReason::length);
  EXPECT_FALSE(generator.step(counter));
  EXPECT_EQ(counter.num_calls, 1);
  EXPECT_EQ(counter.num_tokens, 0);
}

TEST_F(ScoredRequests, EndWithTheirLastScore) {
  Generator generator(rank_.ctx, rank_.session.parallel(), rank_.cached, {.max_batch_tokens = 10});
  TextHearer hearer;
  generator.add({.prompt = some_text(37, 21, 3), .max_tokens = 0, .scores_prompt = true});
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(generator.finish(0), FinishReason::none);
    EXPECT_TRUE(generator.step(hearer));
  }
  EXPECT_EQ(hearer.texts[0].prompt.size(), 20U);
  EXPECT_EQ(generator.finish(0), FinishReason::length);
  EXPECT_EQ(generator.last_pass().prompt_tokens, 10);
  EXPECT_EQ(generator.last_pass().decoded_tokens, 0);
  EXPECT_EQ(generator.last_pass().used_blocks, 0);
}

// They need the logits of all places; others find their blocks.
TEST_F(ScoredRequests, ReuseNothing) {
  const std::vector<int32_t> prompt = some_text(37, 40, 5);
  const GenerationRequest plain{.prompt = prompt, .max_tokens = 3};
  GenerationRequest scored = plain;
  scored.scores_prompt = true;
  Generator generator(rank_.ctx, rank_.session.parallel(), rank_.cached, {});
  TextHearer hearer;
  for (const GenerationRequest& request : {scored, scored, plain}) {
    generator.add(request);
    while (generator.step(hearer)) {
    }
  }
  EXPECT_EQ(hearer.reused, (std::map<int64_t, int64_t>{{0, 0}, {1, 0}, {2, 32}}));
  EXPECT_EQ(hearer.texts[0].prompt, hearer.texts[1].prompt);
  EXPECT_EQ(hearer.texts[0].prompt.size(), 39U);
  EXPECT_EQ(hearer.texts[0].ids(), hearer.texts[2].ids());
  EXPECT_EQ(generator.counts().reused_tokens, 32);
}

}  // namespace
}  // namespace trireme::test
