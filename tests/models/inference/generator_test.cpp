// Texts do not depend on what else is generated, on the size of batches and cache, or on reused prefixes.
#include "models/inference/generator.h"

#include <algorithm>
#include <bit>

#include <gtest/gtest.h>

#include "models/inference/row_scores.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/self/self_communicator.h"
#include "tests/support/expect_error.h"
#include "tests/support/heard_texts.h"
#include "tests/support/tensors.h"

namespace trireme::test {
namespace {

constexpr int64_t kLongest = 96;

class GeneratorOf : public testing::TestWithParam<NamedModel> {
 protected:
  CachedRank rank(const CacheOptions& options, int num_threads = 1) {
    return CachedRank(*self_, {.data = 1}, GetParam().config, weights_.path(), options, num_threads);
  }
  /// Each request by itself, the whole prompt at once.
  Texts alone(const std::vector<GenerationRequest>& requests) {
    Texts texts;
    CachedRank one = rank({.num_blocks = 8});
    for (const GenerationRequest& request : requests)
      texts.push_back(generate(one, {.reuses_prefixes = false}, {request}).front());
    return texts;
  }

  std::unique_ptr<Communicator> self_ = make_self_communicator();
  TrainedWeights weights_{GetParam().config};
};

TEST_P(GeneratorOf, WritesTheSameTextInAnyCompany) {
  const auto requests = some_requests(GetParam().config.vocab_size, 12, 1);
  const Texts expected = alone(requests);
  GenerationCounts counts;
  CachedRank large = rank({.num_blocks = 100}, 3);
  EXPECT_EQ(generate(large, {}, requests, &counts), expected);
  EXPECT_EQ(counts.preemptions, 0);
  CachedRank small = rank({.num_blocks = 7, .block_tokens = 16}, 2);
  for (const bool reuses : {false, true}) {
    const GeneratorOptions options{
        .max_batch_tokens = reuses ? 7 : 100, .max_sequences = 6, .reuses_prefixes = reuses};
    EXPECT_EQ(generate(small, options, requests, &counts), expected);
    EXPECT_GT(counts.preemptions, 0);
    EXPECT_EQ(counts.reused_tokens > 0, reuses);
  }
}

// Token by token with the likeliest one of the whole text so far, without a cache.
TEST_P(GeneratorOf, GreedyTextIsThatOfTheModel) {
  CachedRank one = rank({.num_blocks = 6, .block_tokens = 16});
  const GenerationRequest request{.prompt = some_text(GetParam().config.vocab_size, 37, 4), .max_tokens = 20};
  std::vector<int32_t> tokens = request.prompt;
  for (int i = 0; i < 20; ++i) {
    MicroBatch batch = make_micro_batch(one.ctx, 1, std::ssize(tokens), tokens, {});
    batch.training = false;
    const auto logits = to_vector(one.session.model().logits(one.ctx, batch));
    const auto last = logits.end() - GetParam().config.vocab_size;
    tokens.push_back(static_cast<int32_t>(std::max_element(last, logits.end()) - last));
  }
  EXPECT_EQ(generate(one, {.max_batch_tokens = 10}, {request}).front(),
            std::vector<int32_t>(tokens.begin() + 37, tokens.end()));
}

INSTANTIATE_TEST_SUITE_P(Models, GeneratorOf, testing::ValuesIn(inference_models(kLongest)),
                         [](const auto& p) { return p.param.name; });

// Texts of more blocks than the cache has; what each token is worth is that of one pass over the whole text.
TEST(GeneratorOfBoundedReach, HasLongTextsInASmallCache) {
  constexpr int64_t kPlaces = 256;
  std::vector<ModelConfig> configs{inference_models(kPlaces)[5].config, inference_models(kPlaces)[0].config};
  configs[1].window = 40;
  const auto self = make_self_communicator();
  for (const ModelConfig& config : configs) {
    const TrainedWeights weights(config, 4);
    CachedRank one(*self, {.data = 1}, config, weights.path(), {.num_blocks = 9, .block_tokens = 16}, 2);
    std::vector<GenerationRequest> requests;
    for (const uint64_t seed : {4, 5, 4}) {
      requests.push_back({.prompt = some_text(config.vocab_size, 170, seed),
                          .max_tokens = 60,
                          .num_alternatives = 0,
                          .scores_prompt = seed == 5});
    }
    const auto heard = hear(one, {.max_batch_tokens = 24}, requests);
    EXPECT_EQ(heard[0], heard[2]);
    for (size_t r = 0; r < 2; ++r) {
      std::vector<int32_t> tokens = requests[r].prompt;
      for (const int32_t token : heard[r].ids()) tokens.push_back(token);
      MicroBatch batch = make_micro_batch(one.ctx, 1, std::ssize(tokens), tokens, {});
      batch.training = false;
      const auto logits = to_vector(one.session.model().logits(one.ctx, batch));
      const auto width = static_cast<size_t>(config.vocab_size);
      HeardText::Scores expected;
      for (size_t i = 1; i < tokens.size(); ++i) {
        const TokenScore score =
            RowScores(std::span(logits).subspan((i - 1) * width, width)).score(tokens[i]);
        expected.emplace_back(score.token, std::bit_cast<uint32_t>(score.log_probability));
      }
      HeardText::Scores got = heard[r].prompt;
      if (!requests[r].scores_prompt) got.assign(expected.begin(), expected.begin() + 169);
      got.insert(got.end(), heard[r].tokens.begin(), heard[r].tokens.end());
      EXPECT_EQ(got, expected);
    }
    Generator alone(one.ctx, one.session.parallel(), one.cached, {.max_batch_tokens = 32});
    alone.add(requests[0]);
    while (alone.step({})) EXPECT_LE(alone.last_pass().used_blocks, 7);
    CachedRank tiny(*self, {.data = 1}, config, weights.path(), {.num_blocks = 3, .block_tokens = 16});
    Generator refusing(tiny.ctx, tiny.session.parallel(), tiny.cached, {});
    expect_error(ExitCode::usage, {"3 blocks of 16 tokens: 8 new ones would fit"},
                 [&] { refusing.add({.prompt = some_text(config.vocab_size, 40, 4), .max_tokens = 100}); });
  }
}

class GeneratorTest : public testing::Test {
 protected:
  static ModelConfig config() { return inference_models(kLongest).front().config; }

  std::unique_ptr<Communicator> self_ = make_self_communicator();
  CachedRank rank_{*self_, {.data = 1}, config(), "", {.num_blocks = 4, .block_tokens = 16}};
  Generator generator_{rank_.ctx, rank_.session.parallel(), rank_.cached, {}};
};

TEST_F(GeneratorTest, EndsAtItsEndTokenAtItsLengthOrWhenToldTo) {
  const std::vector<int32_t> prompt{3, 1, 4};
  generator_.add({.prompt = prompt, .max_tokens = 6});
  while (generator_.step({})) {
  }
  const std::vector<int32_t> text(generator_.text(0).begin(), generator_.text(0).end());
  ASSERT_EQ(text.size(), 6U);
  EXPECT_EQ(generator_.finish(0), FinishReason::length);

  const int32_t end = text[2];
  const auto first = static_cast<size_t>(std::ranges::find(text, end) - text.begin());
  generator_.add({.prompt = prompt, .max_tokens = 6, .end_tokens = {36, end}});
  generator_.add({.prompt = prompt, .max_tokens = 6});
  generator_.add({.prompt = prompt, .max_tokens = 1, .end_tokens = {text[0]}});
  std::vector<FinishReason> reasons;
  while (generator_.step([&](const GeneratedToken& token) {
    if (token.finish != FinishReason::none) reasons.push_back(token.finish);
    return token.request == 2 && token.index == 3;
  })) {
  }
  EXPECT_EQ(generator_.finish(1), FinishReason::end_token);
  EXPECT_EQ(generator_.text(1).size(), first + 1);
  EXPECT_EQ(generator_.text(1).back(), end);
  EXPECT_EQ(generator_.finish(2), FinishReason::stopped);
  EXPECT_EQ(generator_.text(2).size(), 4U);
  EXPECT_EQ(generator_.finish(3), FinishReason::end_token);
  EXPECT_EQ(reasons, std::vector(2, FinishReason::end_token));
  EXPECT_EQ(generator_.counts().decoded_tokens, 6 + static_cast<int64_t>(first) + 1 + 4 + 1);
}

TEST_F(GeneratorTest, CancelledRequestsGiveTheirBlocksBack) {
  const auto prompt = some_text(37, 40, 1);
  generator_.add({.prompt = prompt, .max_tokens = 24});
  generator_.add({.prompt = some_text(37, 41, 2), .max_tokens = 23});
  generator_.step({});
  generator_.step({});
  EXPECT_EQ(generator_.text(0).size(), 2U);
  EXPECT_EQ(generator_.text(1).size(), 0U);  // there is no room for it yet
  generator_.cancel(0);
  EXPECT_EQ(generator_.finish(0), FinishReason::stopped);
  EXPECT_EQ(generator_.num_unfinished(), 1);
  generator_.step({});
  EXPECT_EQ(generator_.text(1).size(), 1U);
  generator_.cancel(1);
  generator_.cancel(1);
  EXPECT_EQ(generator_.num_unfinished(), 0);
  EXPECT_FALSE(generator_.step({}));
  // Its text is not lost, and its prompt is in the cache.
  EXPECT_EQ(generator_.text(0).size(), 2U);
  generator_.add({.prompt = prompt, .max_tokens = 24});
  generator_.step({});
  EXPECT_EQ(generator_.counts().reused_tokens, 16);
}

TEST_F(GeneratorTest, RefusesWhatDoesNotFit) {
  const auto refused = [&](const GenerationRequest& request, const std::string& says) {
    expect_error(ExitCode::usage, {says}, [&] { generator_.add(request); });
  };
  refused({.prompt = {}}, "an empty prompt");
  refused({.prompt = {1}, .max_tokens = 0}, "max_tokens is 0; allowed: 1 or more");
  refused({.prompt = some_text(37, 90, 1), .max_tokens = 7}, "6 new ones would fit");
  refused({.prompt = some_text(37, 60, 1), .max_tokens = 5}, "4 blocks of 16 tokens: 4 new ones would fit");
  refused({.prompt = {1, 37}, .max_tokens = 1}, "token 37 of a prompt; the model has 37");
  refused({.prompt = {-1}, .max_tokens = 1}, "token -1 of a prompt");
  EXPECT_FALSE(generator_.step({}));
  generator_.add({.prompt = some_text(37, 60, 1), .max_tokens = 4});
  EXPECT_TRUE(generator_.step({}));
}

// Two texts of one prompt: the block in which they part is copied, the others are shared.
TEST(CachedModelTest, CopiedBlocksGoOnAsTheirOriginal) {
  for (const NamedModel& model : inference_models(kLongest)) {
    SCOPED_TRACE(model.name);
    const auto self = make_self_communicator();
    CachedRank rank(*self, {.data = 1}, model.config, "", {.num_blocks = 5, .block_tokens = 16});
    const auto prompt = some_text(37, 40, 1);
    const std::vector<int32_t> first{4, 0, 2}, second{4, 0, 3};
    const SequenceChunk all{.tokens = prompt, .start = 0, .blocks = first, .num_logits = 0};
    EXPECT_EQ(rank.cached.logits(rank.ctx, {&all, 1}).dim(0), 0);
    rank.cached.copy_blocks(rank.ctx, {2}, {3});
    const std::vector<int32_t> one{7, 8, 9}, other{30, 20, 10};
    const std::vector<SequenceChunk> both{{.tokens = other, .start = 40, .blocks = second, .num_logits = 3},
                                          {.tokens = one, .start = 40, .blocks = first, .num_logits = 3}};
    const auto logits = to_vector(rank.cached.logits(rank.ctx, both));
    auto row = logits.begin();
    for (const auto* text : {&other, &one}) {
      std::vector<int32_t> tokens = prompt;
      tokens.insert(tokens.end(), text->begin(), text->end());
      MicroBatch batch = make_micro_batch(rank.ctx, 1, std::ssize(tokens), tokens, {});
      batch.training = false;
      const auto expected = to_vector(rank.session.model().logits(rank.ctx, batch));
      EXPECT_TRUE(std::equal(row, row + 3 * 37, expected.end() - 3 * 37));
      row += 3 * 37;
    }
  }
}

TEST(CachedModelTest, RefusesWhatDoesNotFit) {
  const auto self = make_self_communicator();
  CachedRank rank(*self, {.data = 1}, inference_models(32).front().config, "", {.num_blocks = 2});
  const std::vector<int32_t> tokens(33, 1), blocks{0, 1};
  const auto logits = [&](const SequenceChunk& chunk) { rank.cached.logits(rank.ctx, {&chunk, 1}); };
  EXPECT_THROW(logits({.tokens = tokens, .blocks = blocks}), InternalError);
  EXPECT_THROW(logits({.tokens = {}, .blocks = blocks}), InternalError);
  const auto some = std::span(tokens).first(8);
  EXPECT_THROW(logits({.tokens = some, .start = 16, .blocks = {}}), InternalError);
  EXPECT_THROW(logits({.tokens = some, .blocks = blocks, .num_logits = 9}), InternalError);
  EXPECT_THROW(rank.cached.logits(rank.ctx, {}), InternalError);
  const std::vector<int32_t> beyond{0, 2}, before{-2};
  EXPECT_THROW(logits({.tokens = some, .blocks = beyond}), InternalError);
  EXPECT_THROW(logits({.tokens = some, .blocks = before}), InternalError);
  // Keys and values of 2 heads of 6, of 4 layers.
  EXPECT_EQ(rank.cached.block_bytes(), 4 * 2 * 2 * 6 * 32 * 4);
}

}  // namespace
}  // namespace trireme::test
