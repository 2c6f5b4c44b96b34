#include "launch/serve/protocol/grammar_filter.h"

#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

std::vector<std::string> byte_tokens() {
  std::vector<std::string> tokens;
  for (int b = 0; b < 256; ++b) tokens.emplace_back(1, static_cast<char>(b));
  tokens.emplace_back();            // 256
  tokens.emplace_back("</s>");      // 257: an end that has bytes
  tokens.emplace_back("{\"a\":1");  // 258
  return tokens;
}

std::vector<int32_t> allowed_of(GrammarFilter& filter) {
  std::vector<int32_t> tokens;
  const auto words = filter.allowed();
  for (size_t t = 0; t < words.size() * 64; ++t) {
    if (words[t / 64] >> (t % 64) & 1) tokens.push_back(static_cast<int32_t>(t));
  }
  return tokens;
}

std::shared_ptr<const ByteGrammar> schema_of(std::string_view text) {
  return json_schema_grammar(nlohmann::ordered_json::parse(text));
}

constexpr int32_t kEnds[] = {256, 257};

TEST(GrammarFilter, EndsWhereTheTextIsComplete) {
  const auto masks = std::make_shared<const TokenMasks>(byte_tokens());
  GrammarFilter filter(schema_of(R"({"const":{"a":1}})"), masks, kEnds);
  EXPECT_EQ(allowed_of(filter), (std::vector<int32_t>{'\n', '\r', ' ', '{', 258}));
  filter.accept(258);
  EXPECT_FALSE(filter.is_complete());
  filter.accept('}');
  EXPECT_TRUE(filter.is_complete());
  EXPECT_EQ(allowed_of(filter), (std::vector<int32_t>{256, 257}));
  filter.accept(257);
}

TEST(GrammarFilter, EndsOrGoesOnBehindANumber) {
  const auto masks = std::make_shared<const TokenMasks>(byte_tokens());
  GrammarFilter filter(schema_of(R"({"enum":[1,12]})"), masks, kEnds);
  filter.accept('1');
  EXPECT_EQ(allowed_of(filter), (std::vector<int32_t>{'2', 256, 257}));
  EXPECT_EQ(allowed_of(filter), (std::vector<int32_t>{'2', 256, 257})) << "asked twice";
}

// An end token may spell what a text can hold: it ends the text all the same.
TEST(GrammarFilter, KeepsEndTokensOutOfStrings) {
  const auto masks = std::make_shared<const TokenMasks>(byte_tokens());
  GrammarFilter filter(schema_of(R"({"type":"string"})"), masks, kEnds);
  filter.accept('"');
  const auto allowed = allowed_of(filter);
  EXPECT_EQ(std::ranges::count(allowed, 257), 0);
  EXPECT_EQ(std::ranges::count(allowed, 'x'), 1);
}

TEST(GrammarFilter, EndsWhereTheVocabularyHasNothing) {
  const auto masks = std::make_shared<const TokenMasks>(std::vector<std::string>{"", "{", "\""});
  constexpr int32_t kEnd[] = {0};
  GrammarFilter filter(schema_of(R"({"const":{"x":1}})"), masks, kEnd);
  filter.accept(1);
  filter.accept(2);
  EXPECT_EQ(allowed_of(filter), std::vector<int32_t>{0});
  EXPECT_FALSE(filter.is_complete());
}

TEST(GrammarFilter, RefusesWhatWasNotAllowed) {
  const auto masks = std::make_shared<const TokenMasks>(byte_tokens());
  GrammarFilter filter(json_object_grammar(), masks, kEnds);
  EXPECT_THROW(filter.accept('x'), InternalError);
  EXPECT_THROW(GrammarFilter(json_object_grammar(), masks, std::span<const int32_t>()), InternalError);
}

}  // namespace
}  // namespace trireme::launch
