// The byte and the character tokenizer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/data/tokenizer/byte_tokenizer.h"
#include "runtime/data/tokenizer/char_tokenizer.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using test::expect_error;
using test::TemporaryFolder;
using testing::ElementsAre;

TEST(ByteTokenizer, TakesAnyBytes) {
  std::string all;
  for (int b = 0; b < 256; ++b) all.push_back(static_cast<char>(b));
  const auto tokenizer = load_tokenizer("byte");
  const auto ids = tokenizer->encode(all);
  for (int b = 0; b < 256; ++b) EXPECT_EQ(ids[static_cast<size_t>(b)], b);
  EXPECT_EQ(tokenizer->decode(ids), all);
  EXPECT_EQ(tokenizer->vocab_size(), 257);
  EXPECT_EQ(tokenizer->end_of_text(), 256);
  EXPECT_TRUE(tokenizer->encode("").empty());
}

TEST(Tokenizer, DecodeRefusesForeignIds) {
  const ByteTokenizer tokenizer;
  for (const int32_t id : {-1, 257}) {
    expect_error(ExitCode::bad_input, {fmt::format("id {}", id), "position 1", "0 to 256"}, [&] {
      tokenizer.decode(std::vector<int32_t>{65, id});
    });
  }
}

TEST(CharTokenizer, IdsFollowTheCodePoints) {
  const auto tokenizer = train_char("banana \U0001F6A2\u00e9");
  EXPECT_EQ(tokenizer->vocab_size(), 6);
  EXPECT_THAT(tokenizer->encode("ab n\u00e9\U0001F6A2"), ElementsAre(1, 2, 0, 3, 4, 5));
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{5, 4, 3}), "\U0001F6A2\u00e9n");
  EXPECT_EQ(tokenizer->end_of_text(), std::nullopt);
}

TEST(CharTokenizer, NamesTheUnknownCharacter) {
  const auto tokenizer = train_char("ab\u00e9");
  expect_error(ExitCode::bad_input, {"poem.txt", "U+1F6A2", "byte 104", "among the 3"}, [&] {
    tokenizer->encode("ab\u00e9\U0001F6A2", {"poem.txt", 100});
  });
  expect_error(ExitCode::bad_input, {"poem.txt", "0xFF", "offset 101"}, [&] {
    tokenizer->encode("a\xff", {"poem.txt", 100});
  });
  expect_error(ExitCode::bad_input, {"0xFF"}, [] { train_char("a\xff"); });
  expect_error(ExitCode::bad_input, {"not empty"}, [] { train_char(""); });
}

TEST(CharTokenizer, CutsBetweenCharacters) {
  const auto tokenizer = train_char("a\u6d77");
  EXPECT_EQ(tokenizer->find_cut("a\u6d77\u6d77", 5), 4u);
  EXPECT_EQ(tokenizer->find_cut("a\u6d77\u6d77", 4), 4u);
  EXPECT_EQ(tokenizer->find_cut("a\u6d77\u6d77", 9), 7u);
}

TEST(SimpleTokenizers, SurviveTheirFiles) {
  const TemporaryFolder folder;
  const auto characters = train_char(std::string("\0\n\"\\", 4) + " az\u00e9\U0001F6A2");
  characters->save(folder.path("char.json"));
  load_tokenizer("byte")->save(folder.path("byte.json"));
  const auto read = load_tokenizer(folder.path("char.json"));
  EXPECT_EQ(read->kind(), "char");
  EXPECT_EQ(read->to_json(), characters->to_json());
  EXPECT_EQ(read->fingerprint(), characters->fingerprint());
  EXPECT_NE(read->fingerprint(), train_char("ab")->fingerprint());
  EXPECT_EQ(load_tokenizer(folder.path("byte.json"))->kind(), "byte");
}

TEST(SimpleTokenizers, BrokenFilesAreRefused) {
  const TemporaryFolder folder;
  const auto load = [&](std::string_view json) { load_tokenizer(folder.write("t.json", json)); };
  const auto refuses = [&](std::string_view json, std::string_view reason) {
    expect_error(ExitCode::bad_input, {"t.json", reason}, [&] { load(json); });
  };
  refuses(R"({"type":"trireme-char","version":1,"characters":"abca"})", "U+0061 stands twice");
  refuses(R"({"type":"trireme-char","version":1,"characters":""})", "is empty");
  refuses(R"({"type":"trireme-char","version":1,"characters":7})", "must be a string");
  refuses(R"({"type":"trireme-char","version":1})", "\"characters\" is missing");
  refuses(R"({"type":"trireme-char","version":2,"characters":"ab"})", "\"version\" is 2");
  refuses(R"({"type":"trireme-word"})", "trireme-word");
  refuses(R"({"type":3})", "\"type\" must be a string");
  refuses(R"({"type":"trireme-char","version":1,"char)", "not JSON at byte 41");
  refuses("", "not JSON");
  refuses("[1]", "is not a tokenizer");
  refuses(R"({"a":0,"b":1})", "is not a tokenizer");
}

TEST(LoadTokenizer, SaysWhatWouldWork) {
  const TemporaryFolder folder;
  expect_error(ExitCode::usage, {"'char' must be trained"}, [] { load_tokenizer("char"); });
  expect_error(ExitCode::usage, {"'bpe' must be trained"}, [] { load_tokenizer("bpe"); });
  expect_error(ExitCode::bad_input, {"bytes", "No such file"}, [] { load_tokenizer("bytes"); });
  expect_error(ExitCode::bad_input, {folder.path(), "tokenizer.json", "encoder.json", "merges.txt"},
               [&] { load_tokenizer(folder.path()); });
}

// Vocabulary and merges of another class would be cut by GPT-2's pattern, without a word.
TEST(LoadTokenizer, PairsOfFilesAreOfGpt2) {
  const TemporaryFolder folder;
  folder.write("vocab.json", R"({"a":0,"b":1,"ab":2})");
  folder.write("merges.txt", "#version: 0.2\na b\n");
  EXPECT_EQ(load_tokenizer(folder.path())->encode("aba"), (std::vector<int32_t>{2, 0}));
  folder.write("tokenizer_config.json", R"({"tokenizer_class":"GPT2TokenizerFast"})");
  EXPECT_EQ(load_tokenizer(folder.path())->encode("aba"), (std::vector<int32_t>{2, 0}));
  folder.write("tokenizer_config.json", R"({"tokenizer_class":"Qwen2Tokenizer"})");
  expect_error(ExitCode::bad_input, {"merges.txt", "Qwen2Tokenizer", "save_pretrained"},
               [&] { load_tokenizer(folder.path()); });
}

}  // namespace
}  // namespace trireme
