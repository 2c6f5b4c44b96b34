#include "runtime/data/tokenizer/files/token_lists.h"

#include <map>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/huggingface_json.h"
#include "runtime/data/tokenizer/models/vocabulary.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/files/file.h"
#include "runtime/io/json/json_file.h"
#include "tests/support/expect_error.h"
#include "tests/support/folders.h"

namespace trireme {
namespace {

using nlohmann::json;
using test::expect_error;

TEST(Vocabulary, IsAMapOfTexts) {
  std::mt19937 random(5);
  Vocabulary vocabulary;
  std::map<std::string, int32_t, std::less<>> expected;
  std::vector<std::string> order;
  EXPECT_FALSE(vocabulary.contains(""));
  EXPECT_EQ(vocabulary.begin(), vocabulary.end());
  for (int32_t id = 0; id < 3000; ++id) {
    std::string text(random() % 4, 'a');  // most stand there before
    for (char& c : text) c = static_cast<char>(random() % 16);
    const auto [it, is_new] = vocabulary.emplace(text, id);
    EXPECT_EQ(is_new, expected.emplace(text, id).second);
    EXPECT_EQ(it->first, text);
    EXPECT_EQ(it->second, expected.at(text));
    if (is_new) order.push_back(text);
  }
  ASSERT_EQ(vocabulary.size(), expected.size());
  size_t i = 0;
  for (const auto& [text, id] : vocabulary) {
    EXPECT_EQ(text, order[i++]);
    EXPECT_EQ(id, expected.at(std::string(text)));
  }
  for (int c = 16; c < 256; ++c) EXPECT_FALSE(vocabulary.contains(std::string(2, static_cast<char>(c))));
}

struct Parsed {
  TokenLists lists;
  json rest;
};

// Whatever the text, with the lists put back it is what the library reads.
Parsed parse(const std::string& text) {
  SCOPED_TRACE(text.substr(0, 200));
  Parsed parsed;
  parsed.rest = parse_tokenizer_json(text, "t.json", parsed.lists);
  json whole = parsed.rest;
  put_back(parsed.lists, whole);
  EXPECT_EQ(whole, parse_json(text, "t.json"));
  return parsed;
}

TEST(TokenLists, AreNotInTheValue) {
  const auto [lists, rest] = parse(
      R"({"vocab":{"z":1},"model":{"vocab":{"b":1,"a\n":0,"":7},"type":"BPE","merges":["a b","b c"]},"merges":["x y"]})");
  EXPECT_EQ(
      rest,
      parse_json(R"({"vocab":{"z":1},"model":{"vocab":{},"type":"BPE","merges":[]},"merges":["x y"]})", "t"));
  ASSERT_EQ(lists.tokens.size(), 3u);
  EXPECT_EQ(lists.tokens[1], "a\n");
  EXPECT_EQ(lists.tokens[2], "");
  EXPECT_THAT(lists.ids, testing::ElementsAre(1, 0, 7));
  EXPECT_EQ(lists.num_merges(), 2u);
  EXPECT_EQ(lists.merges[1], "b c");
  const auto pairs = parse(R"({"model":{"merges":[["a","b"],["c","d e"]]}})");
  EXPECT_TRUE(pairs.lists.are_pairs);
  EXPECT_EQ(pairs.lists.num_merges(), 2u);
  EXPECT_EQ(pairs.lists.merges[3], "d e");
  EXPECT_TRUE(pairs.rest["model"]["merges"].empty());
}

TEST(TokenLists, LeaveWhatIsOfAnotherForm) {
  for (
      const char* text :
      {R"({"model":{"vocab":{"a":-1,"b":1.5,"c":"x","d":[1,{"e":2}],"f":{"g":3},"h":16777216,"i":null,"j":4}}})",
       R"({"model":{"vocab":[["a",1],{"b":2}],"merges":{"a":"b","c":["d","e"]}}})",
       R"({"model":{"vocab":{"a":1,"a":2},"merges":[]}})",
       R"({"model":{"vocab":{"a":1},"vocab":{"b":2},"merges":["a b"],"merges":[["c","d"]]}})",
       R"({"model":{"vocab":{"a":1},"merges":["a b"]},"model":{"vocab":{}}})",
       R"({"model":{"vocab":{"a":1}},"model":[{"vocab":{"a":1},"merges":["a b"]}]})",
       R"({"model":{"vocab":{"a":1},"vocab":3},"other":{"vocab":{"a":1},"merges":["a b"]}})",
       R"([{"model":{"vocab":{"a":1},"merges":["a b"]}}])", R"("model")", "{}",
       R"({"model":{"merges":[["a","b"],"c d",["e","f"]]}})",
       R"({"model":{"merges":["a b",["c","d"],"e f"]}})",
       R"({"model":{"merges":["a b",{"c":["d","e"]},"f g"]}})",
       R"({"model":{"merges":[[["a","b"]],["c","d"]]}})", R"({"model":{"merges":[1,"a b"]}})",
       R"({"model":{"merges":[["a"],"a b",["c","d"]]}})",
       R"({"model":{"vocab":{"model":1,"vocab":2,"merges":3},"merges":["model vocab"],"z":[["a","b"]]}})"})
    parse(text);
  for (const char* name : {"gpt2", "llama3", "steps"})
    parse(read_text_file(fmt::format("{}/tests/golden/tokenizer/{}.json", test::source_folder(), name)));
}

TEST(TokenLists, RefuseWhatIsNoJson) {
  for (const std::string& text :
       {std::string(R"({"model":{"vocab":{"a":1,}}})"), std::string(R"({"model":{"vocab":{"a":1})"),
        std::string(R"({"model":{"merges":["a b" "c"]}})"), std::string(R"({"model":{"vocab":{"a":1e999}}})"),
        std::string("{\"model\":\0{}}", 12), std::string("{} x"), std::string()}) {
    TokenLists lists;
    std::string expected;
    try {
      parse_json(text, "t.json");
    } catch (const UserError& error) {
      expected = error.what();
    }
    expect_error(ExitCode::bad_input, {expected}, [&] { parse_tokenizer_json(text, "t.json", lists); });
  }
}

// What the library's own filter needs a look at all of a list for, whenever an entry ends.
TEST(TokenLists, TakeTimeThatGrowsWithTheText) {
  std::string text = R"({"added_tokens":[)";
  for (int i = 0; i < 20'000; ++i) text += "{},";
  parse(text + "{}]}");
}

TEST(TokenLists, ATokenThatStandsTwiceIsRefused) {
  const std::string text =
      R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"model":{"vocab":{"a":0,"b":1,"a":2},"merges":[]}})";
  expect_error(ExitCode::bad_input, {"t.json", "\"a\" stands twice, with the ids 0 and 2"},
               [&] { read_tokenizer(text, "t.json"); });
}

}  // namespace
}  // namespace trireme
