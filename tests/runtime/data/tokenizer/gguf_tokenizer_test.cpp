#include "runtime/data/tokenizer/files/gguf_tokenizer.h"

#include <nlohmann/json.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/data/tokenizer/files/base64.h"
#include "runtime/data/tokenizer/files/gguf_pretokenizers.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/gguf/gguf_writer.h"
#include "runtime/io/json/json_file.h"
#include "tests/support/expect_error.h"
#include "tests/support/folders.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using nlohmann::json;
using test::expect_error;
using test::TemporaryFolder;

// A small tokenizer of tests/golden/tokenizer/steps.json. GGUF has no place for what added tokens do beside
// blanks, so they do nothing here.
json golden_entry(std::string_view name) {
  for (json entry :
       read_json_file(fmt::format("{}/tests/golden/tokenizer/steps.json", test::source_folder()))) {
    if (entry["name"] != name) continue;
    for (json& token : entry["json"]["added_tokens"]) {
      for (const char* flag : {"lstrip", "rstrip", "single_word", "normalized"}) token[flag] = false;
    }
    return entry;
  }
  throw std::out_of_range(std::string(name));
}

void write_golden(const json& entry, const TemporaryFolder& folder) {
  if (entry.contains("model")) {
    folder.write("tokenizer.model", decode_base64(entry["model"].get<std::string>()).value());
  } else {
    folder.write("tokenizer.json", entry["json"].dump());
  }
}

std::string write_gguf(const TemporaryFolder& folder, const GgufMetadata& metadata) {
  GgufWriter(folder.path("t.gguf"), {}, metadata).commit();
  return folder.path("t.gguf");
}

template <class T>
const T& value_of(const GgufMetadata& metadata, std::string_view key) {
  for (const auto& [name, value] : metadata) {
    if (name == key) return std::get<T>(value);
  }
  throw std::out_of_range(std::string(key));
}

void set_value(GgufMetadata& metadata, const std::string& key, GgufValue value) {
  std::erase_if(metadata, [&](const auto& entry) { return entry.first == key; });
  metadata.emplace_back(key, std::move(value));
}

class GgufTokenizer : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(GgufTokenizer, GivesTheIdsOfTheFilesThatItWasWrittenFrom) {
  const auto& [name, model] = GetParam();
  json entry = golden_entry(name);
  if (entry.contains("model")) entry.erase("json");
  const TemporaryFolder folder;
  write_golden(entry, folder);
  const auto original = load_tokenizer(folder.path());
  constexpr int64_t kPadding = 5;
  const auto metadata = gguf_tokenizer_metadata(folder.path(), original->vocab_size() + kPadding);
  EXPECT_EQ(value_of<std::string>(metadata, "tokenizer.ggml.model"), model);
  const auto& tokens = value_of<std::vector<std::string>>(metadata, "tokenizer.ggml.tokens");
  const auto& types = value_of<std::vector<int32_t>>(metadata, "tokenizer.ggml.token_type");
  ASSERT_EQ(static_cast<int64_t>(tokens.size()), original->vocab_size() + kPadding);
  ASSERT_EQ(types.size(), tokens.size());
  EXPECT_EQ(tokens.back(), fmt::format("[PAD{}]", tokens.size() - 1));
  EXPECT_EQ(types.back(), 5);

  const auto read = load_tokenizer(write_gguf(folder, metadata));
  EXPECT_EQ(read->kind(), original->kind());
  EXPECT_EQ(read->vocab_size(), original->vocab_size());
  int compared = 0;
  for (const json& one : entry["cases"]) {
    const auto text = one["text"].get<std::string>();
    // SentencePiece itself takes no control symbol out of a text; GGUF does not say whose tokens they are.
    if (entry.contains("model") && text.find('<') != std::string::npos) continue;
    EXPECT_EQ(read->encode(text), original->encode(text)) << text;
    // It shows the unknown by a sign of its own; GGUF has no place for that.
    const std::string decoded = original->decode(original->encode(text));
    if (decoded.find("\u2047") == std::string::npos) {
      EXPECT_EQ(read->decode(original->encode(text)), decoded) << text;
    }
    ++compared;
  }
  EXPECT_GE(compared, 5);
  // What was read is saved as a file of its own, and read again.
  EXPECT_EQ(read_tokenizer(read->to_json(), "saved")->to_json(), read->to_json());
}

INSTANTIATE_TEST_SUITE_P(Kinds, GgufTokenizer,
                         testing::Values(std::pair("bytes", "gpt2"), std::pair("bert", "bert"),
                                         std::pair("sp bpe", "llama"), std::pair("sp unigram bytes", "t5"),
                                         std::pair("sp rules", "t5")),
                         [](const auto& kind) {
                           std::string name = kind.param.first;
                           std::ranges::replace(name, ' ', '_');
                           return name;
                         });

TEST(GgufTokenizerFiles, EveryNameOfAPretokenizerCompilesAndIsFoundByItsPatterns) {
  for (const auto& one : gguf_pretokenizers()) {
    const std::vector<std::string> patterns(one.patterns.begin(), one.patterns.end());
    EXPECT_EQ(match_gguf_pretokenizer(patterns, one.ignore_merges, one.nfc)->patterns, one.patterns);
    for (const auto& name : one.names) {
      EXPECT_EQ(find_gguf_pretokenizer(name), &one) << name;
      const TemporaryFolder folder;
      GgufMetadata metadata{{"tokenizer.ggml.model", std::string("gpt2")},
                            {"tokenizer.ggml.pre", std::string(name)},
                            {"tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "ab", "1"}},
                            {"tokenizer.ggml.merges", std::vector<std::string>{"a b"}}};
      const auto read = load_tokenizer(write_gguf(folder, metadata));
      EXPECT_EQ(read->encode("ab1"), (std::vector<int32_t>{2, 3})) << name;
    }
  }
}

TEST(GgufTokenizerFiles, WhatIsMissingOrUnknownIsNamed) {
  const TemporaryFolder folder;
  write_golden(golden_entry("bytes"), folder);
  const GgufMetadata good = gguf_tokenizer_metadata(folder.path(), 1000);
  const auto refuses = [&](const std::string& key, std::optional<GgufValue> value,
                           std::initializer_list<std::string_view> parts) {
    GgufMetadata changed = good;
    if (value) {
      set_value(changed, key, *value);
    } else {
      std::erase_if(changed, [&](const auto& entry) { return entry.first == key; });
    }
    const TemporaryFolder other;
    const std::string path = write_gguf(other, changed);
    expect_error(ExitCode::bad_input, parts, [&] { load_tokenizer(path); });
  };
  refuses("tokenizer.ggml.pre", "galley", {"t.gguf", "tokenizer.ggml.pre", "galley", "llama-bpe"});
  refuses("tokenizer.ggml.model", "rwkv", {"tokenizer.ggml.model", "rwkv", "gpt2, llama, t5 and bert"});
  refuses("tokenizer.ggml.merges", std::nullopt, {"tokenizer.ggml.merges"});
  refuses("tokenizer.ggml.tokens", std::nullopt, {"tokenizer.ggml.tokens"});
  refuses("tokenizer.ggml.token_type", std::vector<int32_t>{1, 1}, {"2 entries for 1000 tokens"});
  refuses("tokenizer.ggml.token_type", std::vector<int32_t>(1000, 9), {"token 0 is 9", "0 to 6"});
  refuses("tokenizer.ggml.eos_token_id", uint32_t{1000}, {"eos_token_id", "1000", "1000 tokens"});
  refuses("tokenizer.ggml.merges", std::vector<std::string>{"a galley"}, {"galley"});
}

TEST(GgufTokenizerFiles, WhatLlamaCppHasNoEqualOfIsNamed) {
  const auto refuses = [](const json& file, std::initializer_list<std::string_view> parts) {
    const TemporaryFolder folder;
    folder.write("tokenizer.json", file.dump());
    expect_error(ExitCode::usage, parts, [&] { gguf_tokenizer_metadata(folder.path(), 1000); });
  };
  refuses(golden_entry("bytes nfkc")["json"], {"NFKC"});
  refuses(golden_entry("bytes prefix")["json"], {"add_prefix_space"});
  refuses(golden_entry("words")["json"], {"WordLevel"});
  refuses(golden_entry("t5")["json"], {"Unigram", "spiece.model"});
  json file = golden_entry("bytes")["json"];
  file["added_tokens"][0]["lstrip"] = true;
  refuses(file, {file["added_tokens"][0]["content"].get<std::string>(), "lstrip"});
  const TemporaryFolder folder;
  write_golden(golden_entry("bytes"), folder);
  const auto size = load_tokenizer(folder.path())->vocab_size();
  expect_error(ExitCode::usage, {std::to_string(size), "is 7"},
               [&] { gguf_tokenizer_metadata(folder.path(), 7); });
}

TEST(TokenizerFolder, FilesBesideATokenizerCount) {
  const TemporaryFolder folder;
  json entry = golden_entry("bytes");
  entry["json"]["post_processor"] = nullptr;  // puts the end of text behind each text: it would be eos
  write_golden(entry, folder);
  const auto alone = load_tokenizer(folder.path());
  const auto beyond = static_cast<int32_t>(alone->vocab_size() + 3);  // ids between stay free
  folder.write(
      "tokenizer_config.json",
      fmt::format(
          R"({{"eos_token": {{"content": "<|turn|>"}}, "pad_token": null, "chat_template": "{{{{ a }}}}",
                 "added_tokens_decoder": {{"{}": {{"content": "<|turn|>", "special": true}}}}}})",
          beyond));
  folder.write("generation_config.json", fmt::format(R"({{"eos_token_id": [{}, 40, 41]}})", beyond));
  const auto read = load_tokenizer(folder.path());
  EXPECT_EQ(read->end_of_text(), beyond);
  EXPECT_EQ(read->vocab_size(), beyond + 1);
  EXPECT_EQ(read->encode("a<|turn|>").back(), beyond);
  EXPECT_EQ(read->decode(std::vector<int32_t>{beyond - 1}), "");
  EXPECT_NE(load_tokenizer(folder.path(), "<|endoftext|>")->end_of_text(), beyond);

  const auto metadata = gguf_tokenizer_metadata(folder.path(), beyond + 1);
  EXPECT_EQ(value_of<uint32_t>(metadata, "tokenizer.ggml.eos_token_id"), static_cast<uint32_t>(beyond));
  EXPECT_EQ(value_of<uint32_t>(metadata, "tokenizer.ggml.eot_token_id"), 40U);
  EXPECT_EQ(value_of<uint32_t>(metadata, "tokenizer.ggml.eom_token_id"), 41U);
  EXPECT_EQ(value_of<std::string>(metadata, "tokenizer.chat_template"), "{{ a }}");

  folder.write("generation_config.json", fmt::format(R"({{"eos_token_id": [{}, 40, 41, 42]}})", beyond));
  expect_error(ExitCode::usage, {"generation_config.json", "one too many"},
               [&] { gguf_tokenizer_metadata(folder.path(), beyond + 1); });
  folder.write("tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "<|turn|>"}}})");
  expect_error(ExitCode::bad_input, {"tokenizer_config.json", "\"x\""},
               [&] { load_tokenizer(folder.path()); });
}

TEST(TokenizerFolder, PiecesTakeAddedTokensAndWhatIsPutAroundATextFromTheFilesBeside) {
  json entry = golden_entry("sp bpe");
  const TemporaryFolder folder;
  write_golden(entry, folder);
  const auto alone = load_tokenizer(folder.path());
  const auto next = static_cast<int32_t>(alone->vocab_size());
  folder.write("tokenizer_config.json",
               R"({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true})");
  folder.write("added_tokens.json", fmt::format(R"({{"<|turn|>": {}}})", next));
  const auto read = load_tokenizer(folder.path());
  EXPECT_EQ(read->vocab_size(), next + 1);
  EXPECT_EQ(read->end_of_text(), alone->end_of_text());
  EXPECT_EQ(read->encode("the<|turn|>").back(), next);
  EXPECT_EQ(read->encode("the sea"), alone->encode("the sea"));
  ASSERT_EQ(read->begin_ids().size(), 1U);
  EXPECT_EQ(read->begin_ids()[0], alone->end_of_text().value() - 1);
  EXPECT_EQ(read_tokenizer(read->to_json(), "saved")->encode_whole("the<|turn|>"),
            read->encode_whole("the<|turn|>"));
}

}  // namespace
}  // namespace trireme
