// What a draft model has computed stays as far as the text agrees, and blocks come back.
#include "models/inference/speculation/draft_texts.h"

#include <gtest/gtest.h>

namespace trireme::test {
namespace {

using Tokens = std::vector<int32_t>;

TEST(DraftTexts, KeepsWhatTheTextHasAsWell) {
  DraftTexts texts(4, 4);
  texts.begin();
  DraftState* state = texts.at(1, Tokens{1, 2, 3}, 6);
  ASSERT_NE(state, nullptr);
  EXPECT_TRUE(state->tokens.empty());
  EXPECT_EQ(state->blocks.size(), 2U);
  state->tokens = {1, 2, 3, 8, 9};  // two of them drafts
  texts.begin();
  EXPECT_EQ(texts.at(1, Tokens{1, 2, 3, 8, 7}, 6)->tokens, (Tokens{1, 2, 3, 8}));
  // Of the last token the logits are needed.
  state->tokens = {1, 2, 3, 8, 7};
  EXPECT_EQ(texts.at(1, Tokens{1, 2, 3, 8, 7}, 6)->tokens, (Tokens{1, 2, 3, 8}));
  EXPECT_EQ(texts.at(1, Tokens{1, 2, 3, 5, 5, 5}, 8)->tokens, (Tokens{1, 2, 3}));
  EXPECT_EQ(texts.num_available(), 2);
  texts.forget(1);
  texts.forget(1);
  EXPECT_EQ(texts.num_available(), 4);
}

TEST(DraftTexts, TakesBlocksFromTextsThatAreNotAskedFor) {
  DraftTexts texts(3, 4);
  texts.begin();
  ASSERT_NE(texts.at(1, Tokens{1, 2}, 4), nullptr);
  ASSERT_NE(texts.at(2, Tokens{1, 2}, 8), nullptr);
  EXPECT_EQ(texts.at(3, Tokens{1, 2}, 4), nullptr);  // nothing for it, and it holds nothing
  EXPECT_EQ(texts.num_available(), 0);
  texts.begin();
  texts.at(1, Tokens{1, 2}, 4)->tokens = {1};
  ASSERT_NE(texts.at(3, Tokens{1, 2}, 4), nullptr);  // those of the second
  EXPECT_EQ(texts.num_available(), 1);
  EXPECT_EQ(texts.at(1, Tokens{1, 2}, 4)->tokens, Tokens{1});
  EXPECT_EQ(texts.at(4, Tokens{1, 2}, 12), nullptr);
  EXPECT_EQ(texts.num_available(), 1);
}

TEST(DraftTexts, SharesFullBlocksOfTexts) {
  DraftTexts texts(6, 4);
  texts.begin();
  const Tokens text{1, 2, 3, 4, 5, 6, 7, 8, 9};
  DraftState* first = texts.at(1, text, 10);
  first->tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9, 50};
  texts.remember(*first, 7);
  EXPECT_EQ(texts.at(2, text, 10)->tokens, (Tokens{1, 2, 3, 4}));
  texts.remember(*first, 9);
  const DraftState* third = texts.at(3, text, 10);
  EXPECT_EQ(third->tokens, (Tokens{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(third->blocks[1], first->blocks[1]);
  // A text that ends where a block does is computed from that block on.
  EXPECT_EQ(texts.at(4, std::span(text).first(8), 8), nullptr);  // all are in use
  texts.forget(2);
  EXPECT_EQ(texts.at(4, std::span(text).first(8), 8)->tokens, (Tokens{1, 2, 3, 4}));
}

}  // namespace
}  // namespace trireme::test
