// N-grams found by an index are those of a search through the whole text.
#include <algorithm>

#include <gtest/gtest.h>

#include "models/inference/speculation/drafts.h"
#include "models/inference/speculation/ngram_index.h"
#include "runtime/base/philox.h"
#include "tests/support/expect_error.h"

namespace trireme::test {
namespace {

/// The place behind the last occurrence, before the text's end, of its last tokens.
std::optional<int64_t> search(std::span<const int32_t> tokens, int64_t longest, int64_t shortest) {
  const int64_t length = std::ssize(tokens);
  for (int64_t n = std::min(longest, length - 1); n >= shortest; --n) {
    const auto last = tokens.last(static_cast<size_t>(n));
    for (int64_t end = length - 1; end >= n; --end) {
      const auto here = tokens.subspan(static_cast<size_t>(end - n), static_cast<size_t>(n));
      if (std::ranges::equal(here, last)) return end;
    }
  }
  return std::nullopt;
}

std::vector<int32_t> drawn_tokens(uint64_t seed, int64_t count, uint32_t alphabet) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(philox4x32(seed, static_cast<uint64_t>(i), 0)[0] % alphabet));
  return tokens;
}

TEST(NgramIndex, FindsWhatASearchFinds) {
  int64_t num_found = 0, num_missing = 0;
  for (uint64_t seed = 0; seed < 24; ++seed) {
    const auto drawn = philox4x32(seed, 1, 1);
    const int64_t shortest = 1 + drawn[0] % 3, longest = shortest + drawn[1] % 4;
    const auto text = drawn_tokens(seed, 700, 2 + drawn[2] % 40);
    NgramIndex index(longest, shortest);
    for (size_t length = 0; length <= text.size(); length += 1 + philox4x32(seed, length, 2)[0] % 3) {
      const auto known = std::span(text).first(length);
      const auto place = index.follow(known);
      ASSERT_EQ(place, search(known, longest, shortest)) << seed << " " << length;
      ASSERT_EQ(index.follow(known), place);
      ++(place ? num_found : num_missing);
    }
  }
  EXPECT_GT(num_found, 1000);
  EXPECT_GT(num_missing, 1000);
}

TEST(NgramIndex, RefusesATextThatShrank) {
  NgramIndex index(3, 2);
  const auto text = drawn_tokens(1, 9, 3);
  index.follow(text);
  EXPECT_THROW(index.follow(std::span(text).first(7)), InternalError);
  EXPECT_THROW(NgramIndex(1, 2), InternalError);
  EXPECT_THROW(NgramIndex(1, 0), InternalError);
}

std::vector<int32_t> draft_of(DraftSource& source, int64_t request, const std::vector<int32_t>& tokens,
                              int64_t most) {
  std::vector<int32_t> draft{-7};
  const DraftedText text{.request = request, .tokens = tokens, .most = most, .draft = &draft};
  source.propose({&text, 1});
  return draft;
}

TEST(NgramDrafts, AreWhatFollowedTheLongestNgram) {
  const auto source = ngram_drafts({.longest = 3, .shortest = 2});
  using Tokens = std::vector<int32_t>;
  EXPECT_EQ(draft_of(*source, 0, {1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3}, 3), (Tokens{4, 9, 2}));
  EXPECT_EQ(draft_of(*source, 1, {1, 2, 3, 4, 9, 2, 3, 5, 2, 3}, 9), (Tokens{5, 2, 3, 5, 2, 3, 5, 2, 3}));
  EXPECT_EQ(draft_of(*source, 2, {1, 2, 3, 4, 9, 8, 3}, 4), Tokens());  // one token alone is none
  EXPECT_EQ(draft_of(*source, 3, {7, 7, 7}, 2), (Tokens{7, 7}));
  EXPECT_EQ(draft_of(*source, 3, {7, 7, 7, 7}, 0), Tokens());
  EXPECT_EQ(draft_of(*source, 4, {}, 2), Tokens());
  EXPECT_EQ(draft_of(*source, 5, {7}, 2), Tokens());
}

// Two texts are told apart, and one that has ended leaves nothing behind.
TEST(NgramDrafts, ForgetsARequest) {
  const auto source = ngram_drafts({});
  const std::vector<int32_t> text{1, 2, 3, 1, 2};
  EXPECT_EQ(draft_of(*source, 8, text, 1), std::vector<int32_t>{3});
  EXPECT_EQ(draft_of(*source, 9, {1, 2}, 1), std::vector<int32_t>());
  source->forget(8);
  source->forget(77);
  EXPECT_EQ(draft_of(*source, 8, {1, 2}, 1), std::vector<int32_t>());
  EXPECT_EQ(draft_of(*source, 9, text, 1), std::vector<int32_t>{3});
}

}  // namespace
}  // namespace trireme::test
