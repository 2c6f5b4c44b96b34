#include <gtest/gtest.h>

#include "runtime/text/grammar/byte_grammar.h"
#include "tests/runtime/text/grammar/json_bounds.h"

namespace trireme {
namespace {

using test::accepts;

bool is_object(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  return json.is_object();
}

TEST(JsonObjectGrammar, AcceptsWhatIsOne) {
  const auto grammar = json_object_grammar();
  for (const std::string_view text :
       {R"({})", R"( {  })", "\n{\n\n \t\"a\" :\r\n1 ,\"b\":[ ]}",
        R"({"":-0,"b":[1,2.5e-3,{"c":null}],"d":"x","d":true})",
        R"({"a":"\"\\\/\b\f\n\r\t\u0000\uABcd\ud83d\uDE00"})",
        "{\"\u00e9\u4e16\U0001F6A2\":\"\u007f\U0010ffff\"}",
        R"({"n":[0,-1,10,12345678901234567890,0.12345678901234567890,1E+9,1e-99]})"}) {
    EXPECT_TRUE(accepts(grammar, text)) << text;
    EXPECT_TRUE(is_object(text)) << text;
  }
}

TEST(JsonObjectGrammar, RefusesWhatIsNone) {
  const auto grammar = json_object_grammar();
  for (const std::string_view text : {"",
                                      "{",
                                      "[]",
                                      "1",
                                      "{}}",
                                      R"({"a"})",
                                      R"({"a":})",
                                      R"({"a":1,})",
                                      R"({,})",
                                      R"({a:1})",
                                      R"({"a":01})",
                                      R"({"a":1.})",
                                      R"({"a":.5})",
                                      R"({"a":+1})",
                                      R"({"a":1e})",
                                      R"({"a":-})",
                                      R"({"a":tru})",
                                      R"({"a":NaN})",
                                      R"({"a":'b'})",
                                      R"({"a":"\x"})",
                                      R"({"a":"\u12"})",
                                      R"({"a":"\ud800"})",
                                      R"({"a":"\ud800\u0041"})",
                                      R"({"a":"\udc00"})",
                                      "{\"a\":\"\n\"}",
                                      "{\"a\":\"\x1f\"}",
                                      "{\"a\":\"\xff\"}",
                                      "{\"a\":\"\xc0\x80\"}",
                                      "{\"a\":\"\xe0\x80\x80\"}",
                                      "{\"a\":\"\xed\xa0\x80\"}",
                                      "{\"a\":\"\xf4\x90\x80\x80\"}",
                                      "{\"a\":\"\xe4\xb8\"}",
                                      R"({"a":[1,]})",
                                      R"({"a":[1 2]})",
                                      R"({"a":1 "b":2})",
                                      "{\"a\":1}x"}) {
    EXPECT_FALSE(accepts(grammar, text)) << text;
    EXPECT_FALSE(is_object(text)) << text;
  }
}

TEST(JsonObjectGrammar, HasItsBounds) {
  const auto grammar = json_object_grammar();
  const auto nested = [](int depth) {
    std::string text = "{\"a\":";
    for (int i = 1; i < depth; ++i) text += '[';
    return text + std::string(static_cast<size_t>(depth - 1), ']') + "}";
  };
  const auto spaced = [](const std::string& space) { return "{" + space + "}"; };
  const std::pair<std::string, std::string> cases[] = {
      {nested(64), nested(65)},
      {spaced("  "), spaced("   ")},
      {spaced("\n\n"), spaced("\n\n\n")},
      {spaced("\n" + std::string(64, ' ')), spaced("\n" + std::string(65, ' '))},
      {spaced("\r\n\t"), spaced("\r\t")},
      {"{}", "{} "},
      {"{\"a\":" + std::string(20, '1') + "}", "{\"a\":" + std::string(21, '1') + "}"},
      {"{\"a\":1." + std::string(20, '1') + "}", "{\"a\":1." + std::string(21, '1') + "}"},
      {"{\"a\":1e99}", "{\"a\":1e100}"}};
  for (const auto& [good, bad] : cases) {
    EXPECT_TRUE(accepts(grammar, good)) << good;
    EXPECT_FALSE(accepts(grammar, bad)) << bad;
    EXPECT_TRUE(test::is_bounded_json(good)) << good;
    EXPECT_FALSE(test::is_bounded_json(bad)) << bad;
  }
}

TEST(JsonObjectGrammar, StaysWhereItIsWhenItRefuses) {
  ByteMatcher matcher(json_object_grammar());
  EXPECT_FALSE(matcher.is_complete());
  EXPECT_TRUE(matcher.accept("{\"a\":\"\xe4"));
  EXPECT_FALSE(matcher.accept("\xb8\x96\"]"));
  EXPECT_FALSE(matcher.accept("x"));
  EXPECT_TRUE(matcher.accept(""));
  const ByteMatcher copy = matcher;
  EXPECT_TRUE(matcher.accept("\xb8\x96\"}"));
  EXPECT_TRUE(matcher.is_complete());
  EXPECT_TRUE(matcher.is_at_end());
  EXPECT_FALSE(copy.is_complete());
  EXPECT_FALSE(copy.is_at_end());
}

TEST(JsonObjectGrammar, LeadsToObjectsWhateverIsDrawn) {
  std::mt19937_64 random(7);
  const ByteMatcher matcher(json_object_grammar());
  size_t bytes = 0;
  for (int i = 0; i < 40; ++i) {
    const auto text = test::draw_text(matcher, random, 600);
    if (!text) continue;  // too long
    bytes += text->size();
    EXPECT_TRUE(is_object(*text)) << *text;
  }
  EXPECT_GT(bytes, 200);
}

// Byte by byte, whatever is in the text, and the parser's word for it.
TEST(JsonObjectGrammar, AgreesWithTheParserOnChangedTexts) {
  std::mt19937_64 random(8);
  const auto grammar = json_object_grammar();
  const std::string good =
      "{\"a\": [1.5e-3, -0, {}, \"\\u00e9\\ud83d\\ude00 \u4e16\"], \"b\": {\"c\": null}}";
  const std::string alphabet = "{}[]\",:\\ue01-+. \n\tntf\xe4\xb8\x96\xff";
  const auto draw = [&](size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random); };
  int num_objects = 0;
  for (int i = 0; i < 8'000; ++i) {
    std::string text = good;
    for (size_t change = 0, changes = 1 + draw(2); change < changes; ++change) {
      const size_t at = draw(text.size());
      const char byte = alphabet[draw(alphabet.size())];
      if (draw(3) == 0) {
        text.erase(at, 1 + draw(3));
      } else if (draw(2) == 0) {
        text.insert(at, 1, byte);
      } else {
        text[at] = byte;
      }
      if (text.empty()) text = "{";
    }
    const bool is_one = is_object(text);
    num_objects += is_one ? 1 : 0;
    EXPECT_EQ(accepts(grammar, text), is_one && test::is_bounded_json(text)) << text;
  }
  EXPECT_GT(num_objects, 300);
}

}  // namespace
}  // namespace trireme
