#include "runtime/data/tokenizer/files/gguf_writing.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/gguf_pretokenizers.h"
#include "runtime/data/tokenizer/files/json_steps.h"
#include "runtime/data/tokenizer/files/token_lists.h"
#include "runtime/data/tokenizer/files/vocabulary_builder.h"
#include "runtime/data/tokenizer/huggingface_json.h"
#include "runtime/data/tokenizer/pattern/pretokenizer.h"
#include "runtime/data/tokenizer/steps/splitter.h"
#include "runtime/io/json/json_file.h"

namespace trireme {
namespace {

using nlohmann::json;

template <class... Args>
[[noreturn]] void refuse_gguf(const std::string& file, fmt::format_string<Args...> format, Args&&... args) {
  throw_usage("{} cannot be written as GGUF: {}", file, fmt::format(format, std::forward<Args>(args)...));
}

std::string type_or_none(const json& root, const char* key, const std::string& file) {
  return is_absent(root, key) ? "" : type_of(root[key], key, file);
}

// One step of a pre-tokenizer as the patterns that a text is cut at.
void add_patterns(const json& step, const std::string& file, std::vector<std::string>& patterns) {
  const std::string& type = type_of(step, "pre_tokenizer", file);
  if (type == "Sequence") {
    for (const json& one : json_member(step, "pretokenizers", file)) add_patterns(one, file, patterns);
  } else if (type == "ByteLevel") {
    if (json_flag(step, "add_prefix_space", true, file))
      refuse_gguf(file, "its ByteLevel puts a blank before a text (add_prefix_space), llama.cpp does not");
    if (json_flag(step, "use_regex", true, file)) patterns.emplace_back(kGpt2Pattern);
  } else if (type == "Digits") {
    patterns.emplace_back(json_flag(step, "individual_digits", false, file) ? R"(\p{N})" : R"(\p{N}+)");
  } else if (type == "Punctuation") {
    if (step.value("behavior", json("Isolated")) != "Contiguous")
      refuse_gguf(file, "its Punctuation cuts each sign apart, which llama.cpp has no name for");
    patterns.emplace_back(R"([\p{P}$+<=>^~|`]+)");
  } else if (type == "Split") {
    const json& pattern = json_member(step, "pattern", file);
    const bool inverts = json_flag(step, "invert", false, file);
    if (!pattern.is_object() || !pattern.contains("Regex") ||
        step.value("behavior", json()) != (inverts ? "Removed" : "Isolated"))
      refuse_gguf(file, "its Split is none that llama.cpp has: a Regex with the behavior Isolated");
    patterns.push_back(json_string(pattern["Regex"], "\"Regex\"", file));
  } else {
    refuse_gguf(file, "its pre_tokenizer {} is none that llama.cpp has", type);
  }
}

bool is_nfc(const json& root, const std::string& file) {
  const std::string type = type_or_none(root, "normalizer", file);
  if (type.empty() ||
      (type == "Sequence" && root["normalizer"].value("normalizers", json()) == json::array()))
    return false;
  if (type == "NFC") return true;
  refuse_gguf(file, "llama.cpp normalizes no text for BPE over bytes, and its normalizer is {}", type);
}

// Names of patterns are all that GGUF holds of them.
std::string pretokenizer_name(const json& root, const std::string& file) {
  std::vector<std::string> patterns;
  if (!is_absent(root, "pre_tokenizer")) add_patterns(root["pre_tokenizer"], file, patterns);
  const bool ignores = json_flag(json_member(root, "model", file), "ignore_merges", false, file);
  if (const auto* known = match_gguf_pretokenizer(patterns, ignores, is_nfc(root, file)))
    return std::string(known->names.front());
  std::string shown;
  for (const auto& pattern : patterns) shown += fmt::format("{}\"{}\"", shown.empty() ? "" : ", ", pattern);
  refuse_gguf(file,
              "llama.cpp has no name for a pre-tokenizer that cuts at {} with ignore_merges {}; it has {}",
              shown.empty() ? "nothing" : shown, ignores, gguf_pretokenizer_names());
}

std::vector<GgufToken> vocabulary_tokens(const json& vocab, const std::string& file) {
  VocabularyBuilder builder(file);
  if (!vocab.is_object()) throw_bad_input("{}: the vocabulary must be an object", file);
  for (const auto& [token, id] : vocab.items())
    builder.add(token,
                json_index(id, VocabularyBuilder::kMostTokens, fmt::format("the id of \"{}\"", token), file));
  std::vector<GgufToken> tokens;
  for (auto& text : builder.tokens()) {
    const PieceType type = text.empty() ? PieceType::unused : PieceType::normal;
    tokens.push_back({std::move(text), 0, type});
  }
  return tokens;
}

GgufTokens byte_bpe_tokens(const json& root, const std::string& file) {
  const json& model = json_member(root, "model", file);
  GgufTokens out;
  out.keys.emplace_back("tokenizer.ggml.model", "gpt2");
  out.keys.emplace_back("tokenizer.ggml.pre", pretokenizer_name(root, file));
  out.tokens = vocabulary_tokens(json_member(model, "vocab", file), file);
  add_gguf_tokens(added_tokens_of(root, file), false, file, out.tokens);
  std::vector<std::string> merges;
  for_each_merge({}, json_member(model, "merges", file), file,
                 [&](std::string_view left, std::string_view right, const std::string& where) {
                   if (left.find(' ') != std::string_view::npos || right.find(' ') != std::string_view::npos)
                     refuse_gguf(file, "{} has a blank inside", where);
                   merges.push_back(fmt::format("{} {}", left, right));
                 });
  out.keys.emplace_back("tokenizer.ggml.merges", std::move(merges));
  return out;
}

// Words begin with a mark where BERT's own files go on with ##.
GgufTokens wordpiece_tokens(const json& root, const std::string& file) {
  const json& model = json_member(root, "model", file);
  const std::string normalizer = type_or_none(root, "normalizer", file);
  if (normalizer != "BertNormalizer" || type_or_none(root, "pre_tokenizer", file) != "BertPreTokenizer")
    refuse_gguf(file, "llama.cpp has WordPiece with BertNormalizer and BertPreTokenizer alone");
  const json& steps = root["normalizer"];
  if (!json_flag(steps, "clean_text", true, file) || !json_flag(steps, "handle_chinese_chars", true, file))
    refuse_gguf(file, "llama.cpp cleans texts and parts Chinese characters, but its BertNormalizer does not");
  if (!is_absent(model, "continuing_subword_prefix") && model["continuing_subword_prefix"] != "##")
    refuse_gguf(file, "its continuing_subword_prefix is not ##");
  GgufTokens out;
  out.keys.emplace_back("tokenizer.ggml.model", "bert");
  out.keys.emplace_back("tokenizer.ggml.pre", "default");
  out.tokens = vocabulary_tokens(json_member(model, "vocab", file), file);
  const auto added = added_tokens_of(root, file);
  std::vector<bool> is_added(out.tokens.size());
  for (const auto& token : added) {
    if (static_cast<size_t>(token.id) < is_added.size()) is_added[static_cast<size_t>(token.id)] = true;
  }
  for (size_t id = 0; id < out.tokens.size(); ++id) {
    std::string& text = out.tokens[id].text;
    if (is_added[id] || text.empty()) continue;
    text = text.starts_with("##") ? text.substr(2) : fmt::format("{}{}", kSpaceMark, text);
  }
  add_gguf_tokens(added, false, file, out.tokens);
  const bool lowers = json_flag(steps, "lowercase", true, file);
  out.keys.emplace_back("tokenizer.ggml.normalizer.lowercase", lowers);
  out.keys.emplace_back("tokenizer.ggml.normalizer.strip_accents",
                        json_flag(steps, "strip_accents", lowers, file));
  return out;
}

}  // namespace

std::vector<AddedToken> added_tokens_of(const json& root, const std::string& file) {
  std::vector<AddedToken> added;
  if (is_absent(root, "added_tokens")) return added;
  if (!root["added_tokens"].is_array()) throw_bad_input("{}: \"added_tokens\" must be a list", file);
  for (const json& entry : root["added_tokens"]) added.push_back(read_added_token(entry, file));
  return added;
}

void add_gguf_tokens(const std::vector<AddedToken>& added, bool spells_blanks, const std::string& file,
                     std::vector<GgufToken>& tokens) {
  constexpr size_t kMostFree = 4096;
  const size_t most = tokens.size() + added.size() + kMostFree;
  for (const auto& token : added) {
    if (token.single_word || token.lstrip)
      refuse_gguf(file, "its added token \"{}\" has {}, which GGUF does not hold", token.content,
                  token.lstrip ? "lstrip" : "single_word");
    const auto id = static_cast<size_t>(token.id);
    if (token.id < 0 || id >= most)
      throw_bad_input("{}: the added token \"{}\" has the id {} beside {} tokens", file, token.content,
                      token.id, tokens.size());
    while (tokens.size() <= id) tokens.push_back({"", 0, PieceType::unused});
    auto& slot = tokens[id];
    if (slot.type == PieceType::unknown) continue;
    slot.text = token.content;
    slot.type = token.special ? PieceType::control : PieceType::user_defined;
    if (!token.special && spells_blanks) slot.text = replace_all(slot.text, kSpaceMark, " ");
  }
}

GgufTokens gguf_tokens_of_json(const json& root, const std::string& file) {
  const json& model = json_member(root, "model", file);
  const std::string type = is_absent(model, "type") ? "BPE" : type_of(model, "model", file);
  if (type == "WordPiece") return wordpiece_tokens(root, file);
  if (type == "Unigram")
    refuse_gguf(
        file,
        "the model Unigram needs its SentencePiece file: put spiece.model or tokenizer.model beside it");
  if (type != "BPE") refuse_gguf(file, "llama.cpp has BPE, Unigram and WordPiece, not {}", type);
  return json_flag(model, "byte_fallback", false, file) ? gguf_tokens_of_merges(root, file)
                                                        : byte_bpe_tokens(root, file);
}

}  // namespace trireme
