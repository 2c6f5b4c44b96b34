// What patterns mean; the ids of tests/interop/compare_tokenizers.py are Oniguruma's own.
#include "runtime/data/tokenizer/pattern/oniguruma_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/data/tokenizer/pattern/pretokenizer.h"
#include "tests/support/expect_error.h"

namespace trireme {
namespace {

using test::expect_error;
using Words = std::vector<std::string>;

Words words(std::string pattern, std::string_view text) {
  Words all;
  Pretokenizer({std::move(pattern)}).split(text, [&](std::string_view w) { all.emplace_back(w); });
  return all;
}

TEST(OnigurumaPattern, MeansWhatItMeansThere) {
  struct Case {
    std::string pattern, text;
    Words words;
  };
  const Case cases[] = {
      {R"([\p{L}&&[^\p{Han}]]+)", "abc世界def", {"abc", "世界", "def"}},
      {R"([^a-z&&[aeiou]]+)", "xa1", {"x", "a", "1"}},
      {R"([a-z&&[^aeiou]&&[b-x]]+)", "bdazy", {"bd", "azy"}},
      {R"([a-c[x-z]]+)", "abc-xyz-]", {"abc", "-", "xyz", "-]"}},
      {R"([^[a-c]\s]+)", "ab xy", {"ab ", "xy"}},
      {"[]a]+", "b]a", {"b", "]a"}},
      {R"([^\S\n]+)", "a \t\n", {"a", " \t", "\n"}},
      {R"([[:alpha:]]+)", "a1b", {"a", "1", "b"}},
      {R"([[:^alpha:]]+)", "a1b", {"a", "1", "b"}},
      {"^ab", "ab\nab\nab", {"ab", "\n", "ab", "\n", "ab"}},
      {"ab$", "ab\nabc", {"ab", "\nabc"}},
      {R"(\Aab|b\z)", "ab\nab", {"ab", "\na", "b"}},
      {R"(b\Z)", "ab\n", {"a", "b", "\n"}},
      {R"(\h+)", "hello abc", {"h", "e", "llo ", "abc"}},
      {R"(\v)", "a\v\nb", {"a", "\v", "\nb"}},
      {R"(\R)", "a\r\nb\n", {"a", "\r\n", "b", "\n"}},
      {R"(\p{N}{1,3}+)", "1234567x", {"1234567", "x"}},
      {"a{2}?", "aaa", {"aa", "a"}},
      {"a{,2}b", "aaab", {"a", "aab"}},
      {"a{x}", "a{x}a", {"a{x}", "a"}},
      {"x(?i)b|C", "xbxccC", {"xb", "xc", "cC"}},
      {"(?m:a.)|b.", "a\nb\n", {"a\n", "b\n"}},
      {R"(\p{Greek}+)", "α\u0342", {"α", "\u0342"}},
      {R"(\p{Han}+)", "世々、", {"世々", "、"}},
      {R"(\p{uppercase letter})", "aBc", {"a", "B", "c"}},
      {R"(\p{^L}+)", "a12b", {"a", "12", "b"}},
      {R"(\u4e16)", "a世", {"a", "世"}},
      {R"(\w+)", "e\u0301½-", {"e\u0301½", "-"}},
      {"(?<n>a)b", "ab", {"ab"}},
      {"(?#a comment)b", "ab", {"a", "b"}},
  };
  for (const Case& c : cases) EXPECT_EQ(words(c.pattern, c.text), c.words) << c.pattern;
}

TEST(OnigurumaPattern, WhatHasNoTranslationIsRefusedByItsName) {
  const std::pair<const char*, const char*> cases[] = {
      {R"(a\X)", "the escape \\X at offset 1"},
      {R"(\G)", "the escape \\G"},
      {R"(a\K)", "the escape \\K"},
      {R"((a)\1)", "the escape \\1 at offset 3"},
      {R"((?<n>a)\k<n>)", "the escape \\k"},
      {R"(\Qa\E)", "the escape \\Q"},
      {R"(\y)", "the escape \\y"},
      {R"(\pL)", "a property without {}"},
      {R"(\p{Emoji})", "the property Emoji"},
      {R"([[:punct:]])", "the class [:punct:]"},
      {R"(\xe4)", "the code \\xe4"},
      {"(?~ab)", "the group (?~"},
      {"(?(1)a|b)", "the group (?("},
      {"(?x)a", "the group (?x"},
      {"(*FAIL)", "the callout (*"},
      {"a**", "a repeat of a repeat at offset 2"},
      {"(?=a)*", "a repeat of a position"},
      {"*a", "a repeat of nothing, *,"},
      {"a{3,1}", "an interval whose lower end"},
      {"a{70000}", "more than 65535 repeats"},
      {"(?i)[^a]", "a negated class under (?i)"},
      {R"((?i)\p{Lu})", "a set under (?i)"},
      {"(?i:Ss)", "ss under (?i)"},
      {"(?i:ß)", "a letter beyond ASCII under (?i)"},
      {"[a-c-e]", "a - in the middle of a class"},
      {R"([\w-.])", "a - behind a set in a class"},
      {"[a&&]", "a class with an empty part"},
      {"[z-a]", "a range from high to low"},
      {"[a", "a class without ]"},
      {"a)", "an unmatched ) at offset 1"},
      {"(a", "a ( without ) at offset 0"},
      {"a\\", "a \\ at the end"},
  };
  for (const auto& [pattern, reason] : cases) {
    SCOPED_TRACE(pattern);
    expect_error(ExitCode::bad_input, {pattern, reason}, [p = pattern] { oniguruma_to_pcre2(p); });
  }
  const std::string deep(200, '(');
  expect_error(ExitCode::bad_input, {"this deep"}, [&] { oniguruma_to_pcre2(deep); });
}

TEST(OnigurumaPattern, PublishedOnesLoad) {
  for (
      const char* pattern :
      {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s)",
       R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)",
       R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*)",
       "[一-龥\u3040-ゟ゠-ヿ]+", " ?[^(\\s|[.,!?…。，、।۔،])]+"}) {
    EXPECT_NO_THROW(words(pattern, "The don't 世界 12345 (x)\n\n")) << pattern;
  }
  EXPECT_EQ(words(" ?[^(\\s|[.,!?])]+", "ab (c)|d."), (Words{"ab", " (", "c", ")|", "d", "."}));
}

}  // namespace
}  // namespace trireme
