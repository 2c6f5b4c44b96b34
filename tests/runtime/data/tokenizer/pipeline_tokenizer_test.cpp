#include "runtime/data/tokenizer/pipeline_tokenizer.h"

#include <nlohmann/json.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/data/tokenizer/files/base64.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/json/json_file.h"
#include "tests/support/expect_error.h"
#include "tests/support/folders.h"

namespace trireme {
namespace {

using nlohmann::json;
using test::expect_error;

// Small tokenizers of every step with what the libraries give (tests/interop/tokenizers.py --golden).
const json& golden() {
  static const json kGolden =
      read_json_file(fmt::format("{}/tests/golden/tokenizer/steps.json", test::source_folder()));
  return kGolden;
}

std::unique_ptr<Tokenizer> tokenizer_of(const json& entry) {
  const std::string bytes = entry.contains("json") ? entry["json"].dump()
                                                   : decode_base64(entry["model"].get<std::string>()).value();
  return read_tokenizer(bytes, entry["name"].get<std::string>());
}

// How many bytes from `at` begin a character: of one that is cut short those that could be its own (Unicode,
// table 3-7), of what is none 1.
size_t begun_character(std::string_view bytes, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t lead = byte(at);
  const size_t length = lead >= 0xF0 && lead <= 0xF4  ? 4
                        : lead >= 0xE0 && lead < 0xF0 ? 3
                        : lead >= 0xC2 && lead < 0xE0 ? 2
                                                      : 1;
  uint8_t low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  size_t count = 1;
  for (; count < length && at + count < bytes.size(); ++count, low = 0x80, high = 0xBF) {
    if (byte(at + count) < low || byte(at + count) > high) break;
  }
  return count;
}

// The libraries show U+FFFD in place of bytes that are no character.
std::string shown(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const auto error = find_utf8_error(bytes);
    const size_t good = error ? error->offset : bytes.size();
    out += bytes.substr(0, good);
    if (!error) break;
    out += "\xEF\xBF\xBD";
    bytes.remove_prefix(good + begun_character(bytes, good));
  }
  return out;
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const json& entry : golden()) all.push_back(entry["name"].get<std::string>());
  return all;
}

class GoldenSteps : public testing::TestWithParam<std::string> {
 protected:
  const json& entry() const {
    return *std::ranges::find_if(golden(), [](const json& e) { return e["name"] == GetParam(); });
  }
};

TEST_P(GoldenSteps, GiveTheIdsAndTextsOfTheLibrary) {
  const auto tokenizer = tokenizer_of(entry());
  for (const json& item : entry()["cases"]) {
    const auto text = item["text"].get<std::string>();
    const auto ids = item["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer->encode(text), ids) << text;
    EXPECT_EQ(tokenizer->encode(text), ids) << "from the cache: " << text;
    EXPECT_EQ(shown(tokenizer->decode(ids)), item["decoded"].get<std::string>()) << text;
  }
  for (const json& item : entry()["decodes"]) {
    const auto ids = item["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(shown(tokenizer->decode(ids)), item["decoded"].get<std::string>()) << item["ids"];
  }
  if (entry().contains("whole")) {
    EXPECT_EQ(tokenizer->encode_whole(entry()["cases"][0]["text"].get<std::string>()),
              entry()["whole"].get<std::vector<int32_t>>());
  }
}

TEST_P(GoldenSteps, SurviveTheirFile) {
  const auto tokenizer = tokenizer_of(entry());
  const auto read = read_tokenizer(tokenizer->to_json(), "saved.json");
  EXPECT_EQ(read->to_json(), tokenizer->to_json());
  EXPECT_EQ(read->fingerprint(), tokenizer->fingerprint());
  EXPECT_EQ(read->end_of_text(), tokenizer->end_of_text());
  for (const json& item : entry()["cases"]) {
    const auto text = item["text"].get<std::string>();
    EXPECT_EQ(read->encode_whole(text), tokenizer->encode_whole(text));
  }
}

TEST_P(GoldenSteps, StreamWholeCharactersThatAddUp) {
  const auto tokenizer = tokenizer_of(entry());
  std::vector<std::vector<int32_t>> lists;
  for (const json& item : entry()["cases"]) lists.push_back(item["ids"].get<std::vector<int32_t>>());
  for (const json& item : entry()["decodes"]) lists.push_back(item["ids"].get<std::vector<int32_t>>());
  for (const auto& ids : lists) {
    for (const auto specials : {SpecialTokens::keep, SpecialTokens::skip}) {
      const std::string whole = tokenizer->decode(ids, specials);
      TextStream stream(*tokenizer, specials);
      std::string text;
      for (const int32_t id : ids) {
        const std::string piece = stream.push(id);
        if (!find_utf8_error(whole)) {
          EXPECT_FALSE(find_utf8_error(piece)) << whole;
        }
        text += piece;
      }
      EXPECT_EQ(text + stream.finish(), whole);
    }
  }
}

TEST_P(GoldenSteps, SkipWhatIsSpecial) {
  const auto tokenizer = tokenizer_of(entry());
  int num_special = 0;
  for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
    if (!tokenizer->is_special(id)) continue;
    ++num_special;
    EXPECT_EQ(tokenizer->decode(std::vector{id}, SpecialTokens::skip), "");
  }
  EXPECT_GT(num_special, 0);
  expect_error(ExitCode::bad_input, {"position 1"}, [&] {
    tokenizer->decode(std::vector{0, static_cast<int32_t>(tokenizer->vocab_size())}, SpecialTokens::skip);
  });
}

INSTANTIATE_TEST_SUITE_P(All, GoldenSteps, testing::ValuesIn(names()), [](const auto& one) {
  std::string name = one.param;
  std::ranges::replace(name, ' ', '_');
  return name;
});

json of(std::string_view name) {
  for (const json& entry : golden()) {
    if (entry["name"] == name) return entry["json"];
  }
  throw std::out_of_range(std::string(name));
}

void refuses(std::initializer_list<std::string_view> reasons, const json& file) {
  std::vector<std::string_view> all(reasons);
  all.push_back("t.json");
  try {
    read_tokenizer(file.dump(), "t.json");
    ADD_FAILURE() << "was read: " << file.dump().substr(0, 200);
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_input);
    for (const auto reason : all) EXPECT_THAT(error.what(), testing::HasSubstr(std::string(reason)));
  }
}

TEST(TokenizerJson, UnknownStepsAreCalledByName) {
  for (const auto& [key, type] :
       std::vector<std::pair<const char*, const char*>>{{"normalizer", "Turkish"},
                                                        {"pre_tokenizer", "UnicodeScripts"},
                                                        {"decoder", "CTC"},
                                                        {"post_processor", "Foo"}}) {
    json file = of("llama");
    file[key] = {{"type", type}};
    refuses({key, type}, file);
    const char* list = key == std::string("pre_tokenizer") ? "pretokenizers"
                       : key == std::string("normalizer")  ? "normalizers"
                       : key == std::string("decoder")     ? "decoders"
                                                           : "processors";
    file[key] = {{"type", "Sequence"}, {list, {{{"type", type}}}}};
    refuses({key, type}, file);
  }
  json file = of("bert");
  file["model"]["type"] = "Char";
  refuses({"model Char"}, file);
}

TEST(TokenizerJson, WhatDoesNotFitIsRefused) {
  json file = of("llama");
  file["model"]["dropout"] = 0.1;
  refuses({"dropout"}, file);
  file = of("llama");
  file["model"]["merges"][0] = {"nowhere", "t"};
  refuses({"merge 0", "nowhere"}, file);
  file = of("llama");
  file["model"]["unk_token"] = "<none>";
  refuses({"unk_token", "<none>"}, file);
  file = of("bytes lower");
  file["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers", {{{"type", "ByteLevel"}}, {{"type", "Digits"}}}}};
  refuses({"Digits", "after ByteLevel"}, file);
  file = of("bert");
  file["pre_tokenizer"] = {{"type", "ByteLevel"}};
  refuses({"ByteLevel", "WordPiece"}, file);
  file = of("bert");
  file["added_tokens"][0]["id"] = 7;
  refuses({"[UNK]", "7"}, file);
  file = of("unigram");
  file["model"]["vocab"][1][1] = "high";
  refuses({"entry 1"}, file);
  file = of("unigram");
  file["model"]["unk_id"] = 100000;
  refuses({"unk_id"}, file);
  file = of("t5");
  file["normalizer"]["normalizers"][0]["precompiled_charsmap"] = "AAAA";
  refuses({"map of characters"}, file);
  file = of("removed");
  file["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Sideways";
  refuses({"Sideways"}, file);
}

TEST(TokenizerFiles, RankFilesNeedAKnownName) {
  const std::string ranks = "IQ== 0\nIg== 1\nIyM= 2\n";
  expect_error(ExitCode::bad_input, {"own.tiktoken", "\"own\"", "cl100k_base"},
               [&] { read_tokenizer(ranks, "own.tiktoken"); });
  expect_error(ExitCode::bad_input, {"cl100k_base has 100256 ranks, found 3"},
               [&] { read_tokenizer(ranks, "x/cl100k_base.tiktoken"); });
  expect_error(ExitCode::bad_input, {"cl100k_base.tiktoken:2", "base64"},
               [&] { read_tokenizer("IQ== 0\nI?== 1\n", "cl100k_base.tiktoken"); });
}

json tekken() {
  json vocab = json::array();
  for (int b = 0; b < 256; ++b)
    vocab.push_back({{"rank", b}, {"token_bytes", encode_base64(std::string(1, static_cast<char>(b)))}});
  for (const char* token : {"an", "ba", "na", "ana", "left out"})
    vocab.push_back({{"rank", vocab.size()}, {"token_bytes", encode_base64(token)}});
  return {{"config",
           {{"pattern", R"(\p{L}+|\s+|[^\p{L}\s]+)"},
            {"default_vocab_size", 256 + 4 + 22},
            {"default_num_special_tokens", 22}}},
          {"vocab", vocab}};
}

TEST(TokenizerFiles, TekkenCountsRanksBehindTheSpecialTokens) {
  const auto tokenizer = read_tokenizer(tekken().dump(), "tekken.json");
  EXPECT_EQ(tokenizer->vocab_size(), 282);
  EXPECT_EQ(tokenizer->encode("ana banana</s>"),
            // "ana" is a token as a whole; in "banana" the pair of the lowest rank is merged first: b an an
            // a, b an ana.
            (std::vector<int32_t>{22 + 259, 22 + 32, 22 + 'b', 22 + 256, 22 + 259, 22 + '<', 22 + '/',
                                  22 + 's', 22 + '>'}));
  EXPECT_EQ(tokenizer->encode_whole("an"), (std::vector<int32_t>{1, 22 + 256}));
  EXPECT_EQ(tokenizer->end_of_text(), 2);
  EXPECT_EQ(tokenizer->decode(std::vector{1, 22 + 259, 2}), "<s>ana</s>");
  EXPECT_EQ(tokenizer->decode(std::vector{1, 22 + 259, 21, 2}, SpecialTokens::skip), "ana");
  json file = tekken();
  file["vocab"][5]["rank"] = 6;
  expect_error(ExitCode::bad_input, {"entry 5", "rank"}, [&] { read_tokenizer(file.dump(), "tekken.json"); });
}

TEST(TokenizerFiles, Base64) {
  for (const std::string text : {"", "a", "ab", "abc", "\xff\x01", "longer text"})
    EXPECT_EQ(decode_base64(encode_base64(text)), text);
  EXPECT_EQ(encode_base64("Man"), "TWFu");
  for (const char* wrong : {"a", "ab==c", "!!!!", "YR==", "====", "YQ=a"})
    EXPECT_FALSE(decode_base64(wrong)) << wrong;
}

}  // namespace
}  // namespace trireme
