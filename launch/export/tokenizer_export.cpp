#include "launch/export/tokenizer_export.h"

#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/byte_tokenizer.h"
#include "runtime/data/tokenizer/huggingface_json.h"
#include "runtime/data/tokenizer/pattern/pretokenizer.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/json/json_file.h"

namespace trireme::launch {

namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr const char* kEndOfText = "<|endoftext|>";
constexpr int32_t kBytes = 256;

std::string byte_json() {
  BpeModel model;
  for (int32_t byte = 0; byte < kBytes; ++byte) model.tokens.emplace_back(1, static_cast<char>(byte));
  model.tokens.emplace_back(kEndOfText);
  model.patterns.emplace_back(kGpt2Pattern);  // cuts change nothing where nothing merges; llama.cpp has names
  model.added.push_back({.id = kBytes, .content = kEndOfText});
  return write_huggingface_json(model);
}

/// Characters as words of a vocabulary, each of which is split off.
std::string char_json(const nlohmann::json& saved, const std::string& file) {
  const std::string& characters = json_string(json_member(saved, "characters", file), "\"characters\"", file);
  OrderedJson vocab = OrderedJson::object();
  int32_t id = 0;
  for (size_t at = 0; at < characters.size(); ++id) {
    std::string character;
    append_utf8(character, next_code_point(characters, at));
    vocab[character] = id;
  }
  const OrderedJson json = {{"version", "1.0"},
                            {"truncation", nullptr},
                            {"padding", nullptr},
                            {"added_tokens", OrderedJson::array()},
                            {"normalizer", nullptr},
                            {"pre_tokenizer",
                             {{"type", "Split"},
                              {"pattern", {{"Regex", "[\\s\\S]"}}},
                              {"behavior", "Isolated"},
                              {"invert", false}}},
                            {"post_processor", nullptr},
                            {"decoder", {{"type", "Fuse"}}},
                            {"model", {{"type", "WordLevel"}, {"vocab", vocab}, {"unk_token", "<unk>"}}}};
  return json.dump() + "\n";
}

/// The key by which this program finds the end of a text again.
std::string without_own_key(nlohmann::json json) {
  json.erase("trireme_end_of_text");
  return json.dump() + "\n";
}

std::string type_of(const nlohmann::json& json) { return json.is_object() ? json.value("type", "") : ""; }

}  // namespace

bool is_own_kind(const std::string& file) {
  const std::string type = type_of(read_json_file(file));
  return type == "trireme-byte" || type == "trireme-char";
}

TokenizerExport export_tokenizer(const std::string& file) {
  const nlohmann::json json = read_json_file(file);
  const auto tokenizer = load_tokenizer(file);
  TokenizerExport exported;
  exported.end_id = tokenizer->end_of_text();
  const std::string type = type_of(json);
  if (type == "trireme-byte") {
    exported.json = byte_json();
    exported.end_token = kEndOfText;
    return exported;
  }
  if (type == "trireme-char") {
    exported.json = char_json(json, file);
    return exported;
  }
  if (!type.empty()) {
    throw_usage(
        "{}: the tokenizer {} is not written in another program's form; give the directory of the files that "
        "it "
        "was read from: --source DIR",
        file, type);
  }
  exported.json = without_own_key(json);
  if (exported.end_id) exported.end_token = tokenizer->decode(std::span(&*exported.end_id, 1));
  return exported;
}

}  // namespace trireme::launch
