#include "runtime/text/grammar/token_masks.h"

#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "tests/runtime/text/grammar/json_bounds.h"

namespace trireme {
namespace {

using Json = nlohmann::ordered_json;

/// All bytes, and pieces of texts of the grammar: tokens begin and end anywhere, in characters too.
std::vector<std::string> vocabulary_of(const ByteMatcher& start, std::mt19937_64& random, size_t size) {
  const auto draw = [&](size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random); };
  std::vector<std::string> tokens = {
      "",      "{\"", "\",\"",   "\"}",  "\": ", "    ",  "\n  ",   "\xF0\x9F",   "\xBD\xA2\"", "}}}}",
      "\xFF{", "The", " rowers", "1.5,", "true", "null}", "\\n\\n", "\\ud83d\\u", "]",          "{\""};
  for (int b = 0; b < 256; ++b) tokens.emplace_back(1, static_cast<char>(b));
  while (tokens.size() < size) {
    const auto text = test::draw_text(start, random, 200);
    if (!text || text->empty()) continue;
    for (size_t i = 0; i < 1 + text->size() / 4; ++i) {
      const size_t at = draw(text->size());
      tokens.push_back(text->substr(at, 1 + draw(6)));
    }
  }
  std::ranges::shuffle(tokens, random);
  tokens.resize(size);
  return tokens;
}

std::vector<uint64_t> mask_of(const TokenMasks& masks, const ByteMatcher& matcher) {
  std::vector<uint64_t> words(static_cast<size_t>(masks.num_tokens() + 63) / 64, ~uint64_t{0});
  masks.fill(matcher, words);
  return words;
}

bool is_set(const std::vector<uint64_t>& words, int32_t token) {
  return (words[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0;
}

/// Walks by tokens; at each place every token is tried on a copy.
void expect_masks_of_all_tokens(const std::shared_ptr<const ByteGrammar>& grammar, uint64_t seed,
                                int num_walks) {
  std::mt19937_64 random(seed);
  const TokenMasks masks(vocabulary_of(ByteMatcher(grammar), random, 333));
  for (int walk = 0; walk < num_walks; ++walk) {
    ByteMatcher matcher(grammar);
    for (int step = 0; step < 25 && !matcher.is_at_end(); ++step) {
      const auto words = mask_of(masks, matcher);
      std::vector<int32_t> allowed;
      for (int32_t token = 0; token < masks.num_tokens(); ++token) {
        ByteMatcher copy = matcher;
        const bool can_follow = !masks.bytes(token).empty() && copy.accept(masks.bytes(token));
        ASSERT_EQ(is_set(words, token), can_follow) << step << ": '" << masks.bytes(token) << "'";
        if (can_follow) allowed.push_back(token);
      }
      EXPECT_EQ(words.back() >> (masks.num_tokens() % 64), 0) << "bits of no token";
      if (allowed.empty()) {
        EXPECT_TRUE(matcher.is_complete());
        break;
      }
      const auto drawn = std::uniform_int_distribution<size_t>(0, allowed.size() - 1)(random);
      ASSERT_TRUE(matcher.accept(masks.bytes(allowed[drawn])));
    }
  }
}

TEST(TokenMasks, AreWhatEachTokenSaysForJsonObjects) {
  expect_masks_of_all_tokens(json_object_grammar(), 3, 20);
}

TEST(TokenMasks, AreWhatEachTokenSaysForSchemas) {
  for (
      const std::string_view schema :
      {R"({"type":"object","properties":{"name":{"type":"string"},"n":{"type":"integer","minimum":-3,"maximum":140}},"required":["name"]})",
       R"({"type":"array","items":{"type":"string","minLength":1,"maxLength":4},"minItems":2,"maxItems":3})",
       R"({"anyOf":[{"type":"array","items":{"$ref":"#"}},{"type":"string","pattern":"^(ab|\u4e16)*$"},{"enum":["a","b",12,1]}]})",
       R"({"type":"object","properties":{"a":{}},"additionalProperties":{"type":"number"}})"}) {
    SCOPED_TRACE(schema);
    expect_masks_of_all_tokens(json_schema_grammar(Json::parse(schema)), 5, 8);
  }
}

// The cache keys of two grammars, and of one that is gone, must not be mixed up.
TEST(TokenMasks, OfOneGrammarAreNotAnothers) {
  std::vector<std::string> tokens;
  for (int b = 0; b < 256; ++b) tokens.emplace_back(1, static_cast<char>(b));
  const TokenMasks masks(tokens);
  for (int i = 0; i < 50; ++i) {
    const char letter = static_cast<char>('a' + i % 26);
    const Json schema = {{"const", std::string(1, letter)}};
    ByteMatcher matcher(json_schema_grammar(schema));
    ASSERT_TRUE(matcher.accept("\""));
    const auto words = mask_of(masks, matcher);
    for (int32_t b = 0; b < 256; ++b) EXPECT_EQ(is_set(words, b), b == letter);
  }
}

TEST(TokenMasks, OfAVocabularyWithoutTokensAreEmpty) {
  const TokenMasks none({}), specials({"", ""});
  const ByteMatcher matcher(json_object_grammar());
  EXPECT_EQ(none.num_tokens(), 0);
  EXPECT_TRUE(mask_of(none, matcher).empty());
  EXPECT_EQ(mask_of(specials, matcher), std::vector<uint64_t>{0});
}

TEST(TokenMasks, FromSeveralThreadsAreThoseOfOne) {
  std::mt19937_64 random(9);
  const auto grammar = json_schema_grammar(
      Json::parse(R"({"type":"array","items":{"properties":{"a":{},"b":{"type":"string","maxLength":9}}}})"));
  const auto tokens = vocabulary_of(ByteMatcher(grammar), random, 500);
  const auto text = std::string_view(R"([{"a":[1.5,"x\ny"],"b":"wxyz"},{"b":"\u00e9\ud83d"}])");
  const auto walk = [&](const TokenMasks& masks) {
    std::vector<std::vector<uint64_t>> all;
    ByteMatcher matcher(grammar);
    for (const char c : text) {
      all.push_back(mask_of(masks, matcher));
      if (!matcher.accept({&c, 1})) break;
    }
    return all;
  };
  const auto expected = walk(TokenMasks(tokens));
  const TokenMasks masks(tokens);
  std::vector<std::vector<std::vector<uint64_t>>> found(3);
  std::vector<std::thread> threads;
  for (auto& one : found) threads.emplace_back([&] { one = walk(masks); });
  for (auto& thread : threads) thread.join();
  for (const auto& one : found) EXPECT_EQ(one, expected);
}

}  // namespace
}  // namespace trireme
