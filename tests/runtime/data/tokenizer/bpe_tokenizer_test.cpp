#include "runtime/data/tokenizer/bpe_tokenizer.h"

#include <random>
#include <set>

#include <nlohmann/json.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/data/tokenizer/bpe_trainer.h"
#include "runtime/data/tokenizer/byte_alphabet.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/json/json_file.h"
#include "tests/support/expect_error.h"
#include "tests/support/folders.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tier.h"

namespace trireme {
namespace {

using test::expect_error;
using test::TemporaryFolder;

std::string golden(std::string_view name) {
  return fmt::format("{}/tests/golden/tokenizer/{}.json", test::source_folder(), name);
}

// Text with every kind of piece that the patterns know.
std::string varied_text() {
  std::string text;
  for (const auto& item : read_json_file(golden("expected")))
    text += item["text"].get<std::string>() + " and\n";
  return text;
}

class GoldenTokenizer : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTokenizer, GivesTheIdsOfHuggingFace) {
  const auto tokenizer = load_tokenizer(golden(GetParam()));
  for (const auto& item : read_json_file(golden("expected"))) {
    const auto text = item["text"].get<std::string>();
    const auto ids = item[GetParam()].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer->encode(text), ids) << text;
    EXPECT_EQ(tokenizer->encode(text), ids) << "from the cache: " << text;
    EXPECT_EQ(tokenizer->decode(ids), text);
  }
  EXPECT_TRUE(tokenizer->end_of_text());
}

TEST_P(GoldenTokenizer, SurvivesItsFile) {
  const TemporaryFolder folder;
  const auto tokenizer = load_tokenizer(golden(GetParam()));
  tokenizer->save(folder.path("tokenizer.json"));
  const auto read = load_tokenizer(folder.path());
  EXPECT_EQ(read->to_json(), tokenizer->to_json());
  EXPECT_EQ(read->vocab_size(), tokenizer->vocab_size());
  EXPECT_EQ(read->encode(varied_text()), tokenizer->encode(varied_text()));
}

TEST_P(GoldenTokenizer, CutsDoNotChangeTheIds) {
  const auto tokenizer = load_tokenizer(golden(GetParam()));
  const std::string text = varied_text();
  const auto whole = tokenizer->encode(text);
  size_t cuts = 0;
  for (size_t limit = 1; limit < text.size(); ++limit) {
    const size_t cut = tokenizer->find_cut(text, limit);
    if (cut == text.size()) continue;
    ++cuts;
    auto ids = tokenizer->encode(std::string_view(text).substr(0, cut));
    const auto rest = tokenizer->encode(std::string_view(text).substr(cut));
    ids.insert(ids.end(), rest.begin(), rest.end());
    ASSERT_EQ(ids, whole) << "cut at " << cut;
  }
  EXPECT_GT(cuts, text.size() / 2);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTokenizer, testing::Values("gpt2", "llama3"));

TEST(BpeTokenizer, TextThatIsNotUtf8IsRefused) {
  expect_error(ExitCode::bad_input, {"book.txt", "0xC3", "offset 12"}, [] {
    load_tokenizer(golden("gpt2"))->encode("ab\xc3", {"book.txt", 10});
  });
}

TEST(BpeTokenizer, LongWordsAreMergedByRank) {
  const auto tokenizer = train_bpe(std::string(64, 'a') + " " + std::string(64, 'a'), 260);
  const std::string word(100001, 'a');
  const auto ids = tokenizer->encode(word);
  EXPECT_EQ(tokenizer->decode(ids), word);
  EXPECT_LE(ids.size(), 100001u / 8 + 4);
}

// A vocabulary over few letters, whose merges take up each other's symbols.
BpeModel drawn_model(std::mt19937& random) {
  const auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
  BpeModel model;
  model.patterns = {std::string(kGpt2Pattern)};
  model.tokens = {"a", "b", "c"};
  std::set<std::pair<int32_t, int32_t>> known;
  while (model.merges.size() < 12) {
    const auto left = static_cast<int32_t>(below(model.tokens.size())),
               right = static_cast<int32_t>(below(model.tokens.size()));
    const std::string text =
        model.tokens[static_cast<size_t>(left)] + model.tokens[static_cast<size_t>(right)];
    if (text.size() > 6 || !known.insert({left, right}).second) continue;
    const auto merged = std::ranges::find(model.tokens, text) - model.tokens.begin();
    if (merged == std::ssize(model.tokens)) model.tokens.push_back(text);
    model.merges.push_back({left, right, static_cast<int32_t>(merged)});
  }
  std::ranges::shuffle(model.merges, random);
  return model;
}

// By the definition: again and again the pair of the lowest rank, of several the leftmost.
std::vector<int32_t> merge_one_by_one(const BpeModel& model, const std::string& word) {
  std::vector<int32_t> ids;
  for (const char letter : word) ids.push_back(letter - 'a');
  for (size_t rank = 0; rank < model.merges.size();) {
    const auto& [left, right, merged] = model.merges[rank];
    const auto at = std::ranges::search(ids, std::array{left, right}).begin();
    if (at == ids.end()) {
      ++rank;
      continue;
    }
    *at = merged;
    ids.erase(at + 1);
    rank = 0;  // what has come about may have a lower one
  }
  return ids;
}

TEST(BpeTokenizer, MergesAsIfOneByOne) {
  std::mt19937 random(static_cast<uint32_t>(test::test_seed()));
  for (int round = 0; round < 100; ++round) {
    const BpeModel model = drawn_model(random);
    const BpeTokenizer tokenizer(model);
    for (int n = 0; n < 20; ++n) {
      std::string word(1 + random() % 12, ' ');
      for (char& letter : word) letter = static_cast<char>('a' + random() % 3);
      ASSERT_EQ(tokenizer.encode(word), merge_one_by_one(model, word)) << word << ", vocabulary " << round;
    }
  }
}

TEST(BpeTokenizer, AddedTokensThatAreNotNormalizedComeFirst) {
  BpeModel model;
  model.tokens = {"a", "b", "c", "ab", "bc", "abc"};
  model.patterns = {std::string(kGpt2Pattern)};
  model.added = {{3, "ab", false, true}, {4, "bc", false, false}};
  EXPECT_THAT(BpeTokenizer(model).encode("abcab"), testing::ElementsAre(0, 4, 3));
  model.added = {{3, "ab", false, false}, {4, "bc", false, true}};
  EXPECT_THAT(BpeTokenizer(model).encode("abcab"), testing::ElementsAre(3, 2, 3));
  model.added = {{3, "ab", false, true}, {4, "bc", false, true}, {5, "abc", false, true}};
  EXPECT_THAT(BpeTokenizer(model).encode("abcab"), testing::ElementsAre(5, 3));
}

TEST(BpeTokenizer, AByteWithoutATokenIsNamed) {
  BpeModel model;
  model.tokens = {"a", "b", "ab"};
  model.merges = {{0, 1, 2}};
  model.patterns = {std::string(kGpt2Pattern)};
  const BpeTokenizer tokenizer(model);
  EXPECT_THAT(tokenizer.encode("aabb"), testing::ElementsAre(0, 2, 1));
  expect_error(ExitCode::bad_input, {"f.txt", "0x63", "offset 12"}, [&] {
    tokenizer.encode("abac", {"f.txt", 9});
  });
}

TEST(BpeTokenizer, PrefixSpace) {
  BpeModel model;
  model.tokens = {"a", " ", " a"};
  model.merges = {{1, 0, 2}};
  model.patterns = {std::string(kGpt2Pattern)};
  model.add_prefix_space = true;
  const BpeTokenizer tokenizer(model);
  EXPECT_THAT(tokenizer.encode("a a"), testing::ElementsAre(2, 2));
  EXPECT_THAT(tokenizer.encode(" a"), testing::ElementsAre(2));
  expect_error(ExitCode::bad_input, {"0x62", "offset 1"}, [&] { tokenizer.encode("ab"); });
}

TEST(ByteAlphabet, SpellsEveryByte) {
  std::string all;
  for (int b = 0; b < 256; ++b) all.push_back(static_cast<char>(b));
  EXPECT_EQ(unspell_bytes(spell_bytes(all)), all);
  EXPECT_EQ(spell_bytes(" \n"), "\u0120\u010a");
  EXPECT_EQ(unspell_bytes("a b"), std::nullopt);
  EXPECT_EQ(unspell_bytes("\u0144"), std::nullopt);
}

TEST(BpeTrainer, MergesTheMostFrequentPairFirst) {
  // Pairs: (a,b) 5 times, (b,c) 4, (space,a) 3: then abc, then the space.
  const auto tokenizer = train_bpe("abc abc abc ab,abc", 259);
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{256}), "ab");
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{257}), "abc");
  EXPECT_EQ(tokenizer->end_of_text(), 258);
  EXPECT_EQ(tokenizer->encode("abc").size(), 1u);
}

TEST(BpeTrainer, OverlapsAreCountedExactly) {
  for (int n = 2; n < 40; ++n) {
    std::string text;
    for (int i = 0; i < 6; ++i)
      text += std::string(static_cast<size_t>(n), 'a') + std::string(i % 3 + 1u, 'b') + " ";
    const auto tokenizer = train_bpe(text, 261);  // the trainer checks that merged pairs are gone
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  }
}

TEST(BpeTrainer, IsDeterministicAndDoesNotSeeTheOrderOfPieces) {
  const std::string text = varied_text() + varied_text();
  BpeTrainer forwards, backwards;
  forwards.add("one two three", {});
  forwards.add(text, {});
  backwards.add(text, {});
  backwards.add("one two three", {});
  EXPECT_EQ(forwards.train(300)->to_json(), backwards.train(300)->to_json());
}

TEST(BpeTrainer, SaysWhichSizesArePossible) {
  expect_error(ExitCode::usage, {"256 ", "257"}, [] { train_bpe("text", 256); });
  expect_error(ExitCode::usage, {"at most 258", "not 1000"}, [] { train_bpe("ab ab", 1000); });
  EXPECT_EQ(train_bpe("ab ab", 258)->vocab_size(), 258);
  EXPECT_EQ(train_bpe("", 257)->vocab_size(), 257);
  expect_error(ExitCode::bad_input, {"0xFF"}, [] { train_bpe("a\xff", 300); });
}

TEST(Pretokenizer, StagesCutOneAfterTheOther) {
  const Pretokenizer pretokenizer({R"(\d)", "b+"});
  std::vector<std::string> words;
  pretokenizer.split("abba12ab", [&](std::string_view w) { words.emplace_back(w); });
  EXPECT_THAT(words, testing::ElementsAre("a", "bb", "a", "1", "2", "a", "b"));
  expect_error(ExitCode::bad_input, {"'(a'", "end pattern with unmatched parenthesis"},
               [] { Pretokenizer({"(a"}); });
}

TEST(Pretokenizer, GapsCanBeLeftOut) {
  const auto words = [](const Pretokenizer& pretokenizer, std::string_view text) {
    std::vector<std::string> all;
    pretokenizer.split(text, [&](std::string_view w) { all.emplace_back(w); });
    return all;
  };
  EXPECT_THAT(words(Pretokenizer({"b+"}, {0}), "abba12ab"), testing::ElementsAre("bb", "b"));
  EXPECT_THAT(words(Pretokenizer({"[ab]+", "b"}, {0}), "abba12ab"),
              testing::ElementsAre("a", "b", "b", "a", "a", "b"));
}

TEST(Pretokenizer, EmptyMatchesPart) {
  std::vector<std::string> words;
  Pretokenizer({"(?=[A-Z])"}).split("fooBarB\u00e9", [&](std::string_view w) { words.emplace_back(w); });
  EXPECT_THAT(words, testing::ElementsAre("foo", "Bar", "B\u00e9"));
  words.clear();
  Pretokenizer({"x*"}).split("axx\u00e9", [&](std::string_view w) { words.emplace_back(w); });
  EXPECT_THAT(words, testing::ElementsAre("a", "xx", "\u00e9"));
}

}  // namespace
}  // namespace trireme
