// Which tokens may be drawn: filters, biases, texts of a least length.
#include <algorithm>
#include <bit>
#include <limits>

#include <gtest/gtest.h>

#include "models/inference/row_scores.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "tests/support/expect_error.h"
#include "tests/support/heard_texts.h"

namespace trireme::test {
namespace {

std::vector<float> drawn_logits(int64_t count) {
  std::vector<float> logits;
  for (int64_t i = 0; i < count; ++i) logits.push_back(3 * philox_normal4(5, static_cast<uint64_t>(i), 0)[0]);
  return logits;
}

int32_t draw(std::span<const float> logits, const SamplingOptions& options, const TokenLimits& limits,
             int64_t index = 0) {
  return draw_token(logits, std::ssize(logits), options, {}, {}, index, limits);
}

TEST(TokenLimits, NothingElseIsDrawn) {
  for (const int64_t size : {1, 63, 64, 65, 200}) {
    const std::vector<float> logits = drawn_logits(size);
    for (const int32_t token : {int32_t{0}, static_cast<int32_t>(size) / 2, static_cast<int32_t>(size) - 1}) {
      std::vector<uint64_t> words(static_cast<size_t>(token) / 64 + 1, 0);  // none beyond its own
      words.back() = uint64_t{1} << token % 64;
      for (const double temperature : {0.0, 1.0, 50.0})
        EXPECT_EQ(draw(logits, {.temperature = temperature}, {.allowed = words}), token);
    }
  }
}

TEST(TokenLimits, UnwelcomeTokensComeWhereNothingElseMay) {
  const std::vector<float> logits = {1, 5, 3, 4};
  const std::vector<int32_t> unwelcome{1, 3, 3, 99, -1};
  EXPECT_EQ(draw(logits, {}, {.unwelcome = unwelcome}), 2);
  const std::vector<uint64_t> words{0b1010};
  EXPECT_EQ(draw(logits, {}, {.allowed = words, .unwelcome = unwelcome}), 1);
  const std::vector<int32_t> all{0, 1, 2, 3};
  EXPECT_EQ(draw(logits, {}, {.unwelcome = all}), 1);
  for (int64_t i = 0; i < 50; ++i)
    EXPECT_EQ(draw(logits, {.temperature = 9}, {.allowed = words, .unwelcome = std::span(all).first(2)}, i),
              3);
}

TEST(TokenLimits, BiasesComeBeforePenaltiesAndFilters) {
  const std::vector<float> logits = {1, 2, 3};
  EXPECT_EQ(draw(logits, {.logit_bias = {{0, 2.5F}}}, {}), 0);
  EXPECT_EQ(draw(logits, {.logit_bias = {{2, -1.0F}, {2, -1.0F}, {77, 9.0F}, {-1, 9.0F}}}, {}), 1);
  // Of the two that top-k keeps, one is there by its bias.
  for (int64_t i = 0; i < 50; ++i)
    EXPECT_NE(draw(logits, {.temperature = 1, .top_k = 2, .logit_bias = {{0, 2.5F}}}, {}, i), 1);
  const std::vector<int32_t> text = {0};
  EXPECT_EQ(draw_token(logits, 3, {.repetition_penalty = 2, .logit_bias = {{0, 4.0F}}}, {}, text, 1), 2);
}

class LimitedTexts : public testing::Test {
 protected:
  static constexpr int64_t kVocab = 37;
  HeardText text_of(const GenerationRequest& request) { return hear(rank_, {}, {request}).front(); }

  ModelConfig config_ = inference_models(96).front().config;
  std::unique_ptr<Communicator> self_ = make_self_communicator();
  TrainedWeights weights_{config_};
  CachedRank rank_{*self_, {.data = 1}, config_, weights_.path(), {.num_blocks = 8, .block_tokens = 16}};
  std::vector<int32_t> prompt_ = some_text(kVocab, 12, 4);
};

TEST_F(LimitedTexts, HaveTokensOfTheFilterAlone) {
  for (const double temperature : {0.0, 1.5}) {
    const GenerationRequest request{.prompt = prompt_,
                                    .max_tokens = 30,
                                    .sampling = {.temperature = temperature},
                                    .num_alternatives = 2,
                                    .filter = thirds_filter(kVocab)};
    const std::vector<int32_t> ids = text_of(request).ids();  // accept() sees each, or fails
    ASSERT_EQ(ids.size(), 30U);
    for (size_t i = 0; i < ids.size(); ++i) EXPECT_NE((ids[i] + (i == 0 ? 0 : ids[i - 1])) % 3, 0);
  }
}

// The model's own: neither filter nor bias changes them.
TEST_F(LimitedTexts, ScoresAreThoseWithoutLimits) {
  const GenerationRequest plain{.prompt = prompt_, .max_tokens = 1, .num_alternatives = kVocab};
  GenerationRequest limited = plain;
  limited.sampling.logit_bias = {{9, 50.0F}, {10, 60.0F}};
  limited.filter = thirds_filter(kVocab);  // 9 is not allowed
  const HeardText free = text_of(plain), other = text_of(limited);
  EXPECT_EQ(other.tokens[0].first, 10);
  EXPECT_EQ(other.alternatives, free.alternatives);
  EXPECT_EQ(std::ranges::count(free.alternatives[0], other.tokens[0]), 1);
}

TEST_F(LimitedTexts, DoNotEndBeforeTheirLeastLength) {
  GenerationRequest request{.prompt = prompt_, .max_tokens = 20, .num_alternatives = 0};
  const std::vector<int32_t> free = text_of(request).ids();
  request.end_tokens = {free[0], free[2]};
  EXPECT_EQ(text_of(request).ids(), (std::vector<int32_t>{free[0]}));
  request.min_tokens = 9;
  const HeardText longer = text_of(request);
  const std::vector<int32_t> ids = longer.ids();
  EXPECT_GE(ids.size(), 9U);
  for (size_t i = 0; i + 1 < ids.size(); ++i) EXPECT_EQ(std::ranges::count(request.end_tokens, ids[i]), 0);
  EXPECT_EQ(longer.finish, ids.size() < 20 ? FinishReason::end_token : longer.finish);
}

TEST_F(LimitedTexts, RefusesWhatCannotBeHonoured) {
  Generator generator(rank_.ctx, rank_.session.parallel(), rank_.cached, {.vocab_size = 30});
  const auto refused = [&](const GenerationRequest& request, const std::string& says) {
    expect_error(ExitCode::usage, {says}, [&] { generator.add(request); });
  };
  refused({.prompt = {1, 2}, .max_tokens = 4, .min_tokens = 5}, "min_tokens is 5; allowed: 0 to 4");
  refused({.prompt = {1, 2}, .max_tokens = 4, .min_tokens = -1}, "min_tokens is -1");
  refused({.prompt = {1, 2}, .max_tokens = 0}, "allowed: 1 or more, or 0 where the prompt is scored");
  refused({.prompt = {1, 2}, .max_tokens = -1, .scores_prompt = true}, "max_tokens is -1");
  refused({.prompt = {1, 2}, .max_tokens = std::numeric_limits<int64_t>::max()}, "94 new ones would fit");
  refused({.prompt = {1, 2}, .max_tokens = 4, .num_alternatives = -2}, "num_alternatives is -2");
  refused({.prompt = {1, 2}, .max_tokens = 4, .sampling = {.logit_bias = {{30, 1.0F}}}},
          "a logit bias of 1 for token 30; the model has 30");
  refused({.prompt = {1, 2},
           .max_tokens = 4,
           .sampling = {.logit_bias = {{3, std::numeric_limits<float>::infinity()}}}},
          "logit-bias is inf");
  refused({.prompt = {1, 2}, .max_tokens = 4, .sampling = {.temperature = -1}}, "temperature is -1");
  expect_error(ExitCode::usage, {"token 33 of a prompt; the model has 30"},
               [&] { generator.add({.prompt = {33}, .max_tokens = 1, .scores_prompt = true}); });
  EXPECT_EQ(generator.num_unfinished(), 0);
}

// No option of a client makes a logit infinite, which would be taken for a damaged model.
TEST_F(LimitedTexts, ExtremesHarmNobody) {
  std::vector<GenerationRequest> requests(4, {.prompt = prompt_, .max_tokens = 8, .num_alternatives = 0});
  requests[0].sampling = {.repetition_penalty = 1e30, .presence_penalty = -1e30};
  requests[1].sampling = {.repetition_penalty = 1e-30, .frequency_penalty = 1e30};
  requests[2].sampling = {.temperature = 1e-320, .logit_bias = {{0, 1e30F}, {1, -1e30F}}};
  requests[3].sampling = {.temperature = 1e300, .top_p = 1e-300, .min_p = 1};
  for (const HeardText& text : hear(rank_, {}, requests)) EXPECT_EQ(text.tokens.size(), 8U);
}

}  // namespace
}  // namespace trireme::test
