#include "runtime/data/tokenizer/huggingface_json.h"

#include <functional>

#include <nlohmann/json.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/philox.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/files/file.h"
#include "runtime/io/json/json_file.h"
#include "tests/support/expect_error.h"
#include "tests/support/folders.h"
#include "tests/support/temporary_folder.h"

namespace trireme {
namespace {

using nlohmann::json;
using test::expect_error;
using test::TemporaryFolder;

// Three tokens, a merge and a mark: enough for every field.
json small() {
  return parse_json(R"({
    "version": "1.0", "normalizer": null,
    "added_tokens": [{"id": 3, "content": "<|endoftext|>", "special": true, "single_word": false}],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "model": {"type": "BPE", "dropout": null, "unk_token": null,
              "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})",
                    "test");
}

using Change = std::function<void(json&)>;

BpeModel read_changed(const Change& change) {
  json j = small();
  change(j);
  return read_huggingface_json(j, "t.json");
}
// As files are read.
BpeModel read_from_text(const Change& change) {
  json j = small();
  change(j);
  TokenLists lists;
  const json rest = parse_tokenizer_json(j.dump(), "t.json", lists);
  return read_huggingface_json(rest, "t.json", lists);
}

void refuses(std::string_view reason, const Change& change) {
  for (const auto& read : {read_changed, read_from_text})
    expect_error(ExitCode::bad_input, {"t.json", reason}, [&] { read(change); });
}

TEST(HuggingFaceJson, ReadsBothSpellingsOfMerges) {
  const auto model =
      read_changed([](json& j) { j["model"]["merges"] = parse_json(R"([["a", "b"]])", "test"); });
  ASSERT_EQ(model.merges.size(), 1u);
  EXPECT_EQ(model.merges[0].merged, 2);
  EXPECT_EQ(model.tokens, (std::vector<std::string>{"a", "b", "ab", "<|endoftext|>"}));
  EXPECT_EQ(write_huggingface_json(model), write_huggingface_json(read_changed([](json&) {})));
}

TEST(HuggingFaceJson, AMarkMayStandInTheVocabularyToo) {
  const auto model = read_changed([](json& j) { j["model"]["vocab"]["<|endoftext|>"] = 3; });
  EXPECT_EQ(model.tokens[3], "<|endoftext|>");
  // A mark need not be spelled in the byte alphabet.
  const auto spaced = read_changed([](json& j) {
    j["model"]["vocab"]["the end"] = 3;
    j["added_tokens"][0]["content"] = "the end";
  });
  EXPECT_EQ(spaced.tokens[3], "the end");
}

TEST(HuggingFaceJson, TheVocabularyMustFit) {
  refuses("both have id 0", [](json& j) { j["model"]["vocab"]["b"] = 0; });
  refuses("id 9: ids are missing", [](json& j) { j["model"]["vocab"]["ab"] = 9; });
  refuses("id 5000: ids are missing", [](json& j) { j["added_tokens"][0]["id"] = 5000; });
  refuses("the id of \"a\" is -1", [](json& j) { j["model"]["vocab"]["a"] = -1; });
  refuses("the id of \"a\" is 1.5", [](json& j) { j["model"]["vocab"]["a"] = 1.5; });
  refuses("the id of \"a\" is 18446744073709551615", [](json& j) { j["model"]["vocab"]["a"] = UINT64_MAX; });
  refuses("the id of \"a\" is 4294967296", [](json& j) { j["model"]["vocab"]["a"] = int64_t{1} << 32; });
  refuses("the id of \"a\" is array", [](json& j) { j["model"]["vocab"]["a"] = json::array(); });
  refuses("must be an object", [](json& j) { j["model"]["vocab"] = json::array({"a"}); });
  refuses("vocabulary is empty", [](json& j) {
    j["model"]["vocab"] = json::object();
    j["added_tokens"] = json::array();
  });
  refuses("does not spell bytes", [](json& j) {
    j["model"]["vocab"].erase("b");
    j["model"]["vocab"]["\u2581b"] = 1;
  });
  refuses("vocabulary gives it 2", [](json& j) { j["added_tokens"][0]["content"] = "ab"; });
  refuses("stands twice", [](json& j) { j["added_tokens"].push_back(j["added_tokens"][0]); });
  refuses("is empty", [](json& j) { j["added_tokens"][0]["content"] = ""; });
}

TEST(HuggingFaceJson, IdsBetweenAddedTokensMayBeFree) {
  const auto model = read_changed([](json& j) { j["added_tokens"][0]["id"] = 6; });
  EXPECT_EQ(model.tokens, (std::vector<std::string>{"a", "b", "ab", "", "", "", "<|endoftext|>"}));
  const auto text = write_huggingface_json(model);
  EXPECT_EQ(write_huggingface_json(read_huggingface_json(parse_json(text, "t"), "t")), text);
}

TEST(HuggingFaceJson, ANormalizerThatDoesNothingIsNone) {
  const auto sequence = [](json steps) {
    return [steps](json& j) { j["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}}; };
  };
  EXPECT_EQ(read_changed(sequence(json::array())).tokens.size(), 4u);
  refuses("normalizer NFD", sequence(json::array({{{"type", "NFD"}}})));
  refuses("must be a list", sequence(7));
}

TEST(HuggingFaceJson, TheEndOfTextIsKnownByNameOrNamed) {
  const TemporaryFolder folder;
  const auto with = [&](std::initializer_list<const char*> contents) {
    json j = small();
    j["added_tokens"] = json::array();
    for (const char* content : contents) {
      j["added_tokens"].push_back(
          {{"id", 3 + j["added_tokens"].size()}, {"content", content}, {"special", true}});
    }
    return folder.write("t.json", j.dump());
  };
  for (const char* name : {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<EOT>", "[EOS]",
                           "<\uFF5Cend\u2581of\u2581sentence\uFF5C>"}) {
    EXPECT_EQ(load_tokenizer(with({"<pad>", name}))->end_of_text(), 4) << name;
  }
  const auto unknown = with({"<pad>", "<fin>"});
  EXPECT_EQ(load_tokenizer(unknown)->end_of_text(), std::nullopt);
  const auto named = load_tokenizer(unknown, "<fin>");
  EXPECT_EQ(named->end_of_text(), 4);
  named->save(folder.path("saved.json"));
  EXPECT_EQ(load_tokenizer(folder.path("saved.json"))->end_of_text(), 4);
  expect_error(ExitCode::usage, {"\"ab\"", "\"<pad>\", \"<fin>\""}, [&] { load_tokenizer(unknown, "ab"); });
  expect_error(ExitCode::usage, {"byte", "<fin>"}, [] { load_tokenizer("byte", "<fin>"); });
}

TEST(HuggingFaceJson, MergesMustFit) {
  refuses("merge 0 needs \"c\"", [](json& j) { j["model"]["merges"] = {"a c"}; });
  refuses("merge 0 needs \"ba\"", [](json& j) { j["model"]["merges"] = {"b a"}; });
  refuses("merge 1 is \"a b\"", [](json& j) { j["model"]["merges"] = {"a b", "a b"}; });
  refuses("merge 0 is \"ab\"", [](json& j) { j["model"]["merges"] = {"ab"}; });
  refuses("merge 0 is \"a b c\"", [](json& j) { j["model"]["merges"] = {"a b c"}; });
  refuses("merge 0 must be a string",
          [](json& j) { j["model"]["merges"] = parse_json(R"([["a"]])", "test"); });
  refuses("merge 0 must be a string",
          [](json& j) { j["model"]["merges"] = parse_json(R"([["a", 1]])", "test"); });
  refuses("\"merges\" must be a list", [](json& j) { j["model"]["merges"] = "a b"; });
  refuses("\"merges\" is missing", [](json& j) { j["model"].erase("merges"); });
}

TEST(HuggingFaceJson, WhatWouldChangeTheIdsIsRefused) {
  refuses("normalizer NFC", [](json& j) { j["normalizer"] = {{"type", "NFC"}}; });
  refuses("model WordPiece", [](json& j) { j["model"]["type"] = "WordPiece"; });
  refuses("dropout", [](json& j) { j["model"]["dropout"] = 0.1; });
  refuses("unk_token", [](json& j) { j["model"]["unk_token"] = "<unk>"; });
  refuses("byte_fallback", [](json& j) { j["model"]["byte_fallback"] = true; });
  refuses("byte_fallback", [](json& j) { j["model"]["byte_fallback"] = "yes"; });
  refuses("\"lstrip\"", [](json& j) { j["added_tokens"][0]["lstrip"] = 1; });
  refuses("a token for the space", [](json& j) { j["pre_tokenizer"].erase("add_prefix_space"); });
  refuses("Metaspace", [](json& j) { j["pre_tokenizer"]["type"] = "Metaspace"; });
  refuses("\"pre_tokenizer\" is missing", [](json& j) { j.erase("pre_tokenizer"); });
  refuses("found null", [](json& j) { j["pre_tokenizer"] = nullptr; });
}

TEST(HuggingFaceJson, SequencesOfSplits) {
  const json split = {
      {"type", "Split"}, {"pattern", {{"Regex", "x+"}}}, {"behavior", "Isolated"}, {"invert", false}};
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const auto sequence = [](std::initializer_list<json> steps) {
    return [steps = json(json::array_t(steps))](json& j) {
      j["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", steps}};
    };
  };
  EXPECT_THAT(read_changed(sequence({split, split, bytes})).patterns, testing::ElementsAre("x+", "x+"));
  EXPECT_TRUE(read_changed(sequence({bytes})).patterns.empty());
  const auto changed = [](json step, const char* key, json value) {
    step[key] = std::move(value);
    return step;
  };
  refuses("behavior Removed", sequence({changed(split, "behavior", "Removed"), bytes}));
  refuses("behavior MergedWithNext", sequence({changed(split, "behavior", "MergedWithNext"), bytes}));
  EXPECT_TRUE(read_changed(sequence({changed(split, "invert", true), bytes})).drop_gaps.empty());
  const auto inverted =
      read_changed(sequence({split, changed(changed(split, "behavior", "Removed"), "invert", true), bytes}));
  EXPECT_THAT(inverted.drop_gaps, testing::ElementsAre(1));
  const auto text = write_huggingface_json(inverted);
  EXPECT_EQ(write_huggingface_json(read_huggingface_json(parse_json(text, "t"), "t")), text);
  refuses("\"Regex\" is missing", sequence({changed(split, "pattern", json::object()), bytes}));
  refuses("add_prefix_space", sequence({split, changed(bytes, "add_prefix_space", true)}));
  refuses("does not end with ByteLevel", sequence({split}));
  refuses("Split is not supported at its place", sequence({bytes, split}));
  refuses("Digits", sequence({changed(split, "type", "Digits"), bytes}));
}

TEST(Gpt2Files, AreReadFromTheirFolder) {
  const TemporaryFolder folder;
  folder.write("encoder.json", R"({"a":0,"b":1,"ab":2,"\u0120":3,"<|endoftext|>":4})");
  folder.write("vocab.bpe", "#version: 0.2\na b\n\n");
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_THAT(tokenizer->encode("ab b<|endoftext|>"), testing::ElementsAre(2, 3, 1, 4));
  EXPECT_EQ(tokenizer->end_of_text(), 4);
  folder.write("vocab.bpe", "#version: 0.2\r\na b\r\na x\r\n");
  expect_error(ExitCode::bad_input, {"vocab.bpe:3", "\"x\""}, [&] { load_tokenizer(folder.path()); });
  folder.write("vocab.bpe", "a b c");
  expect_error(ExitCode::bad_input, {"vocab.bpe:1", "a b c"}, [&] { load_tokenizer(folder.path()); });
  folder.write("vocab.bpe", "a\xff b");
  expect_error(ExitCode::bad_input, {"vocab.bpe", "0xFF"}, [&] { load_tokenizer(folder.path()); });
  folder.write("encoder.json", "[]");
  expect_error(ExitCode::bad_input, {"encoder.json", "must be an object"},
               [&] { load_tokenizer(folder.path()); });
}

// Loads and uses a damaged file: it works, or it is refused as bad input; nothing else may happen.
void load_damaged(const TemporaryFolder& folder, const std::string& contents) {
  const auto path = folder.write("damaged.json", contents);
  try {
    load_tokenizer(path)->encode("The rowers don't <|endoftext|> 123\n\n  x");
  } catch (const UserError& error) {
    ASSERT_EQ(error.code(), ExitCode::bad_input) << error.what();
  }
}

TEST(HuggingFaceJson, TruncatedFilesAreRefused) {
  const TemporaryFolder folder;
  const std::string whole = small().dump();
  for (size_t size = 0; size < whole.size(); ++size) {
    expect_error(ExitCode::bad_input, {"t.json"},
                 [&] { load_tokenizer(folder.write("t.json", whole.substr(0, size))); });
  }
}

TEST(HuggingFaceJson, OtherFilesAreCalledByTheirNames) {
  const TemporaryFolder folder;
  for (const auto& [bytes, name] : {std::pair("\x1F\x8B\x08 ab", "gzip"),
                                    {"PK\x03\x04 ab", "zip"},
                                    {"version https://git-lfs.github.com/spec/v1\n", "Git LFS"}}) {
    expect_error(ExitCode::bad_input, {"t.json", name},
                 [&, b = bytes] { load_tokenizer(folder.write("t.json", b)); });
  }
}

TEST(HuggingFaceJson, DamagedBytesNeverCrash) {
  const TemporaryFolder folder;
  for (const char* name : {"gpt2", "llama3"}) {
    const std::string whole =
        read_text_file(fmt::format("{}/tests/golden/tokenizer/{}.json", test::source_folder(), name));
    for (uint64_t trial = 0; trial < 400; ++trial) {
      std::string damaged = whole;
      const auto random = philox4x32(11, trial, 0);
      const size_t at = random[0] % damaged.size();
      switch (random[1] % 4) {
        case 0:
          damaged[at] = static_cast<char>(random[2]);
          break;
        case 1:
          damaged[at] = "0123456789{}[]\",:\\-ae"[random[2] % 21];
          break;
        case 2:
          damaged.erase(at, random[2] % 20);
          break;
        default:
          damaged.insert(at, damaged.substr(random[2] % damaged.size(), random[3] % 20));
          break;
      }
      load_damaged(folder, damaged);
    }
  }
}

// Puts a value of another kind into every field in turn.
void damage_fields(json& part, const TemporaryFolder& folder, const json& root) {
  const json kept = part;
  for (const json& other : {json(nullptr), json(-1), json(1e300), json(""), json("a"), json::array(),
                            json::object(), json(true), json({{"type", "Sequence"}})}) {
    part = other;
    load_damaged(folder, root.dump());
  }
  part = kept;
  if (part.is_structured()) {
    for (auto& child : part) damage_fields(child, folder, root);
  }
}

TEST(HuggingFaceJson, FieldsOfAnotherTypeNeverCrash) {
  const TemporaryFolder folder;
  json root = small();
  root["pre_tokenizer"] = parse_json(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "a+"}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})",
                                     "test");
  damage_fields(root, folder, root);
}

}  // namespace
}  // namespace trireme
