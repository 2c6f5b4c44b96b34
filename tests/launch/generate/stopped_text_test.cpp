// Stop strings over pieces of text, and text of tokens that end inside characters.
#include "launch/generate/stopped_text.h"

#include <gmock/gmock.h>

#include "runtime/base/philox.h"
#include "runtime/data/tokenizer/byte_tokenizer.h"

namespace trireme::launch {
namespace {

struct Found {
  std::string text;
  bool is_stopped;
  friend bool operator==(const Found&, const Found&) = default;
};

void PrintTo(const Found& found, std::ostream* out) { *out << found.text << (found.is_stopped ? "|" : ""); }

Found search(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopSearch search(stops);
  std::string text;
  for (const std::string& piece : pieces) text += search.push(piece);
  if (!search.is_stopped()) text += search.finish();
  return {text, search.is_stopped()};
}

TEST(StopSearch, FindsStopsWithinAndOverPieces) {
  EXPECT_EQ(search({"END"}, {"some END here"}), (Found{"some ", true}));
  EXPECT_EQ(search({"END"}, {"some E", "N", "D here"}), (Found{"some ", true}));
  EXPECT_EQ(search({"END"}, {"some E", "N", "E", "END"}), (Found{"some ENE", true}));
  EXPECT_EQ(search({"END"}, {"some EN"}), (Found{"some EN", false}));
  EXPECT_EQ(search({}, {"a", "b"}), (Found{"ab", false}));
  EXPECT_EQ(search({"aab"}, {"a", "a", "a", "b", "c"}), (Found{"a", true}));
  EXPECT_EQ(search({"END"}, {"END"}), (Found{"", true}));
}

TEST(StopSearch, GivesWhatCannotBeOfAStopAtOnce) {
  StopSearch search({"\n\nQ:"});
  EXPECT_EQ(search.push("A: 4\n"), "A: 4");
  EXPECT_EQ(search.push("\n"), "");
  EXPECT_EQ(search.push("and"), "\n\nand");
  EXPECT_EQ(search.push("\n\nQ"), "");
  EXPECT_EQ(search.push(": 5"), "");
  EXPECT_TRUE(search.is_stopped());
  EXPECT_EQ(search.push("more"), "");
}

TEST(StopSearch, TheOneThatEndsFirstCountsWhateverThePieces) {
  // "c" ends before "abcd", and of those that end together the longest counts.
  EXPECT_EQ(search({"abcd", "c"}, {"xabcd"}), (Found{"xab", true}));
  EXPECT_EQ(search({"d", "bcd"}, {"xabcd"}), (Found{"xa", true}));
  const std::vector<std::string> stops = {"abab", "ba ", "b a"};
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::string text;
    for (uint64_t i = 0; i < 30; ++i) text += "ab "[philox4x32(seed, i, 0)[0] % 3];
    std::vector<std::string> pieces, letters;
    for (size_t at = 0; at < text.size();) {
      const size_t length = 1 + philox4x32(seed, at, 1)[0] % 6;
      pieces.push_back(text.substr(at, length));
      at += length;
    }
    for (const char letter : text) letters.emplace_back(1, letter);
    EXPECT_EQ(search(stops, pieces), search(stops, letters)) << '"' << text << '"';
  }
}

TEST(StoppedText, GivesWholeCharactersAlone) {
  const ByteTokenizer bytes;
  StoppedText text(bytes, {"é!"});
  std::vector<std::string> pieces;
  for (const unsigned char byte : std::string("aü€é?é!z")) {
    if (!text.is_stopped()) pieces.push_back(text.push(byte));
  }
  EXPECT_THAT(pieces, testing::ElementsAre("a", "", "ü", "", "", "€", "", "", "é?", "", "", ""));
  EXPECT_TRUE(text.is_stopped());
  EXPECT_EQ(text.text(), "aü€é?");
  EXPECT_EQ(text.finish(), "");
}

TEST(StoppedText, WhatIsHeldBackComesAtTheEnd) {
  const ByteTokenizer bytes;
  StoppedText text(bytes, {"stop"});
  std::string given;
  for (const unsigned char byte : std::string("a sto")) given += text.push(byte);
  EXPECT_EQ(given, "a ");
  EXPECT_EQ(text.finish(), "sto");
  EXPECT_EQ(text.text(), "a sto");
  EXPECT_FALSE(text.is_stopped());
}

TEST(StoppedText, SpecialTokensAreNoText) {
  const ByteTokenizer bytes;
  StoppedText text(bytes, {});
  EXPECT_EQ(text.push('a') + text.push(*bytes.end_of_text()) + text.push('b') + text.finish(), "ab");
}

}  // namespace
}  // namespace trireme::launch
