#include "tests/support/heard_texts.h"

#include <bit>

#include <gtest/gtest.h>

namespace trireme::test {

namespace {

std::pair<int32_t, uint32_t> bits_of(const TokenScore& score) {
  EXPECT_LE(score.log_probability, 0);
  return {score.token, std::bit_cast<uint32_t>(score.log_probability)};
}

HeardText::Scores bits_of(std::span<const TokenScore> scores) {
  HeardText::Scores bits;
  for (const TokenScore& score : scores) bits.push_back(bits_of(score));
  return bits;
}

class ThirdsFilter final : public TokenFilter {
 public:
  explicit ThirdsFilter(int64_t vocab_size) : vocab_size_(vocab_size) {}

  std::span<const uint64_t> allowed() override {
    words_.assign(static_cast<size_t>(vocab_size_ + 63) / 64, 0);
    for (int64_t t = 0; t < vocab_size_; ++t) {
      if ((t + last_) % 3 != 0) words_[static_cast<size_t>(t / 64)] |= uint64_t{1} << t % 64;
    }
    return words_;
  }
  void accept(int32_t token) override {
    EXPECT_NE((token + last_) % 3, 0);
    last_ = token;
  }

 private:
  int64_t vocab_size_;
  int32_t last_ = 0;
  std::vector<uint64_t> words_;
};

}  // namespace

void PrintTo(const HeardText& text, std::ostream* out) {
  *out << text.tokens.size() << " tokens:";
  for (const auto& [token, bits] : text.tokens) *out << ' ' << token << '/' << std::hex << bits << std::dec;
  *out << "; " << text.prompt.size() << " of the prompt:";
  for (const auto& [token, bits] : text.prompt) *out << ' ' << token << '/' << std::hex << bits << std::dec;
}

std::vector<int32_t> HeardText::ids() const {
  std::vector<int32_t> all;
  for (const auto& token : tokens) all.push_back(token.first);
  return all;
}

bool TextHearer::on_token(const GeneratedToken& token) {
  EXPECT_TRUE(texts.contains(token.request)) << "has not begun";
  HeardText& text = texts[token.request];
  EXPECT_EQ(text.finish, FinishReason::none);
  EXPECT_EQ(token.index, std::ssize(text.tokens));
  text.tokens.push_back(bits_of(token.sampled));
  text.alternatives.push_back(bits_of(token.alternatives));
  text.finish = token.finish;
  return ends && ends(token);
}

void TextHearer::on_begin(int64_t request, int64_t reused_tokens) {
  EXPECT_FALSE(texts.contains(request)) << "begins twice";
  texts[request];
  reused[request] = reused_tokens;
}

void TextHearer::on_prompt_scores(int64_t request, std::span<const ScoredToken> scores) {
  EXPECT_TRUE(texts.contains(request)) << "has not begun";
  HeardText& text = texts[request];
  EXPECT_TRUE(text.tokens.empty()) << "scores of a prompt after the text's first token";
  for (const ScoredToken& score : scores) {
    text.prompt.push_back(bits_of(score.token));
    text.prompt_alternatives.push_back(bits_of(score.alternatives));
  }
}

void TextHearer::on_preempted(int64_t request, int64_t lost_tokens) {
  EXPECT_TRUE(texts.contains(request)) << "has not begun";
  EXPECT_GT(lost_tokens, 0);
  ++preempted[request];
}

std::vector<HeardText> hear(CachedRank& rank, const GeneratorOptions& options,
                            const std::vector<GenerationRequest>& requests, GenerationCounts* counts) {
  Generator generator(rank.ctx, rank.session.parallel(), rank.cached, options);
  TextHearer hearer;
  for (const GenerationRequest& request : requests) generator.add(request);
  while (generator.step(hearer)) {
  }
  EXPECT_EQ(generator.num_unfinished(), 0);
  EXPECT_EQ(generator.last_pass().used_blocks, 0);
  if (counts != nullptr) *counts = generator.counts();
  std::vector<HeardText> heard;
  for (int64_t i = 0; i < std::ssize(requests); ++i) {
    EXPECT_NE(generator.finish(i), FinishReason::none);
    const bool is_first_rank = hearer.texts.contains(i);
    HeardText& text = heard.emplace_back(std::move(hearer.texts[i]));
    if (!text.tokens.empty()) {
      const auto tokens = generator.text(i);
      EXPECT_EQ(text.ids(), std::vector<int32_t>(tokens.begin(), tokens.end()));
      EXPECT_EQ(text.finish, generator.finish(i));
    }
    const GenerationRequest& request = requests[static_cast<size_t>(i)];
    const size_t scored = is_first_rank && request.scores_prompt ? request.prompt.size() - 1 : 0;
    EXPECT_EQ(text.prompt.size(), scored);
    generator.release(i);
  }
  return heard;
}

std::vector<GenerationRequest> mixed_requests(int64_t vocab_size, int64_t count, uint64_t seed) {
  std::vector<GenerationRequest> requests = some_requests(vocab_size, count, seed);
  for (int64_t i = 0; i < count; ++i) {
    GenerationRequest& r = requests[static_cast<size_t>(i)];
    r.priority = i % 5 - 2;
    r.num_alternatives = i % 4;
    r.scores_prompt = i % 7 == 3 || i % 7 == 4;
    if (i % 7 == 4) r.max_tokens = 0;
    if (i % 5 == 1) r.filter = thirds_filter(vocab_size);
    if (i % 6 == 2) r.sampling.logit_bias = {{3, 4.0F}, {static_cast<int32_t>(vocab_size) - 1, -2.5F}};
    if (i % 4 == 2) r.min_tokens = std::min<int64_t>(r.max_tokens, 6);
  }
  return requests;
}

std::shared_ptr<TokenFilter> thirds_filter(int64_t vocab_size) {
  return std::make_shared<ThirdsFilter>(vocab_size);
}

}  // namespace trireme::test
