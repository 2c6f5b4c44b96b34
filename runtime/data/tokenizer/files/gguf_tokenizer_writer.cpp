#include <algorithm>
#include <filesystem>
#include <set>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/base64.h"
#include "runtime/data/tokenizer/files/gguf_tokenizer.h"
#include "runtime/data/tokenizer/files/gguf_writing.h"
#include "runtime/data/tokenizer/files/json_steps.h"
#include "runtime/data/tokenizer/files/tokenizer_config.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/files/file.h"
#include "runtime/io/json/json_file.h"

namespace trireme {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// Texts of tokens at which llama.cpp stops by itself.
constexpr std::string_view kStopTexts[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>",       "<|return|>",      "<|call|>",
    "<|flush|>",  "<|calls|>",  "</s>",          "<|eom_id|>",      "<EOT>",
    "_<EOT>",     "[EOT]",      "[EOS]",         "<|end_of_text|>", "<end_of_utterance>",
    "<eos>",      "<turn|>",    "<end_of_turn>", "<|endoftext|>",   "<｜end▁of▁sentence｜>"};

/// The metadata in the making.
class TokenizerKeys {
 public:
  TokenizerKeys(GgufTokens made, const TokenizerConfig& config, const Tokenizer& tokenizer, std::string file)
      : made_(std::move(made)), config_(config), tokenizer_(tokenizer), file_(std::move(file)) {}

  GgufMetadata build(int64_t vocab_size) {
    pad(vocab_size);
    GgufMetadata out = std::move(made_.keys);
    std::vector<std::string> texts;
    std::vector<float> scores;
    std::vector<int32_t> types;
    for (const auto& token : made_.tokens) {
      texts.push_back(token.text);
      scores.push_back(token.score);
      types.push_back(static_cast<int32_t>(token.type));
    }
    set_roles();
    set_around();
    set_stops();
    out.emplace_back("tokenizer.ggml.tokens", std::move(texts));
    if (made_.has_scores) out.emplace_back("tokenizer.ggml.scores", std::move(scores));
    out.emplace_back("tokenizer.ggml.token_type", std::move(types));
    for (const auto& [role, id] : ids_)
      out.emplace_back(fmt::format("tokenizer.ggml.{}_token_id", role), static_cast<uint32_t>(id));
    add_flag("bos", config_.add_bos, !tokenizer_.begin_ids().empty(), out);
    add_flag("eos", config_.add_eos, !tokenizer_.end_ids().empty(), out);
    if (!config_.chat_template.empty()) out.emplace_back("tokenizer.chat_template", config_.chat_template);
    std::vector<std::string> names;
    for (const auto& [name, text] : config_.templates) {
      out.emplace_back(fmt::format("tokenizer.chat_template.{}", name), text);
      names.push_back(name);
    }
    if (!names.empty()) out.emplace_back("tokenizer.chat_templates", std::move(names));
    return out;
  }

 private:
  // Free ids and those beyond the tokenizer are unused tokens; llama.cpp needs all texts to differ.
  void pad(int64_t vocab_size) {
    const auto size = static_cast<int64_t>(made_.tokens.size());
    if (vocab_size < size)
      throw_usage("{} has {} tokens, but the model's vocabulary is {}: the model must have at least as many",
                  file_, size, vocab_size);
    made_.tokens.resize(static_cast<size_t>(vocab_size), {"", 0, PieceType::unused});
    std::set<std::string_view> seen;
    for (size_t id = 0; id < made_.tokens.size(); ++id) {
      auto& token = made_.tokens[id];
      if (token.text.empty()) token = {padding_token(static_cast<int64_t>(id)), -10000, PieceType::unused};
    }
    for (const auto& token : made_.tokens) {
      if (!seen.insert(token.text).second)
        throw_usage("{} cannot be written as GGUF: two tokens are \"{}\" there", file_, token.text);
    }
  }

  // tokenizer_config.json counts more than tokenizer.json, as in transformers.
  void add_flag(const char* name, std::optional<bool> configured, bool adds, GgufMetadata& out) const {
    if (!configured && !adds && !made_.says_around) return;
    if (configured.value_or(adds) && !role(name))
      throw_bad_input("{}: add_{}_token is set, but there is no {} token", file_, name, name);
    out.emplace_back(fmt::format("tokenizer.ggml.add_{}_token", name), configured.value_or(adds));
  }

  std::optional<int32_t> find(const std::string& text) const {
    const auto it = std::ranges::find(made_.tokens, text, &GgufToken::text);
    if (text.empty() || it == made_.tokens.end()) return std::nullopt;
    return static_cast<int32_t>(it - made_.tokens.begin());
  }
  std::optional<int32_t> role(const char* name) const {
    const auto it = ids_.find(name);
    return it == ids_.end() ? std::nullopt : std::optional(it->second);
  }

  void set_roles() {
    constexpr std::pair<const char*, const char*> kNames[] = {
        {"bos", "bos"},       {"eos", "eos"}, {"unk", "unknown"}, {"pad", "padding"},
        {"sep", "seperator"}, {"cls", "cls"}, {"mask", "mask"}};
    for (const auto& [name, key] : kNames) {
      const std::string text = config_.role(name);
      const auto id = find(text);
      if (!text.empty() && !id)
        throw_bad_input("{}: the {} token \"{}\" is none of its tokens", file_, name, text);
      if (id) ids_.emplace(key, *id);
    }
    for (const auto& [key, id] : made_.roles) ids_.emplace(key, id);
    if (!role("eos") && tokenizer_.end_of_text()) ids_.emplace("eos", *tokenizer_.end_of_text());
    const auto unknown = std::ranges::find(made_.tokens, PieceType::unknown, &GgufToken::type);
    if (unknown != made_.tokens.end()) ids_["unknown"] = static_cast<int32_t>(unknown - made_.tokens.begin());
  }

  // llama.cpp puts its bos before a text and its eos behind it, or neither.
  void set_around() {
    const auto one_of = [&](std::span<const int32_t> ids, const char* where) {
      if (ids.size() > 1)
        throw_usage("{} cannot be written as GGUF: it puts {} tokens {} a text, llama.cpp at most one", file_,
                    ids.size(), where);
      return ids.empty() ? std::optional<int32_t>() : std::optional(ids[0]);
    };
    if (const auto first = one_of(tokenizer_.begin_ids(), "before")) ids_["bos"] = *first;
    const auto last = one_of(tokenizer_.end_ids(), "behind");
    if (!last) return;
    if (tokenizer_.kind() == "wordpiece") ids_["seperator"] = *last;
    if (const auto eos = role("eos"); eos && *eos != *last) ids_["eot"] = *eos;
    ids_["eos"] = *last;
  }

  // Of several tokens that end a text one is eos; others are eot and eom unless llama.cpp knows their texts.
  void set_stops() {
    for (const int32_t id : config_.stop_ids) {
      if (static_cast<size_t>(id) >= made_.tokens.size())
        throw_bad_input("{}: generation_config.json names the id {} of {} tokens", file_, id,
                        made_.tokens.size());
      if (!role("eos")) ids_["eos"] = id;
      const auto& text = made_.tokens[static_cast<size_t>(id)].text;
      const bool is_named = std::ranges::any_of(ids_, [id](const auto& entry) {
        return entry.second == id && (entry.first == "eos" || entry.first == "eot" || entry.first == "eom");
      });
      if (is_named || std::ranges::find(kStopTexts, text) != std::end(kStopTexts)) continue;
      const char* free = !role("eot") ? "eot" : !role("eom") ? "eom" : nullptr;
      if (free == nullptr)
        throw_usage(
            "{} cannot be written as GGUF: generation_config.json has more tokens that end a text than "
            "eos, eot and eom; \"{}\" is one too many",
            file_, text);
      ids_[free] = id;
    }
  }

  GgufTokens made_;
  const TokenizerConfig& config_;
  const Tokenizer& tokenizer_;
  std::string file_;
  std::map<std::string, int32_t> ids_;
};

std::string pieces_beside(const fs::path& folder) {
  for (const char* name : {"tokenizer.model", "spiece.model"}) {
    std::error_code ignored;
    if (!fs::exists(folder / name, ignored)) continue;
    const std::string path = folder / name;
    if (begins_like_sentencepiece(read_text_file(path))) return path;
  }
  return "";
}

bool is_over_pieces(const json& root, const std::string& file) {
  const json& model = json_member(root, "model", file);
  if (is_absent(model, "type")) return false;
  return model["type"] == "Unigram" ||
         (model["type"] == "BPE" && json_flag(model, "byte_fallback", false, file));
}

// Pieces of a SentencePiece file tell more than the tokenizer.json made of it.
GgufTokens tokens_of(const fs::path& folder, const json& root, const std::string& file) {
  if (!is_absent(root, "type")) {
    if (root["type"] != "trireme-sentencepiece")
      throw_usage(
          "{} cannot be written as GGUF: llama.cpp needs merges or scores; a tokenizer.json, which "
          "transformers makes of it, or tokenizer.model has them",
          file);
    const auto bytes = decode_base64(json_string(json_member(root, "model", file), "\"model\"", file));
    if (!bytes) throw_bad_input("{}: \"model\" is not base64", file);
    const json extras = is_absent(root, "extras") ? json::object() : root["extras"];
    return gguf_tokens_of_pieces(read_sentencepiece_model(*bytes, file), added_tokens_of(extras, file), file);
  }
  if (!root.contains("model"))
    throw_usage(
        "{} cannot be written as GGUF: llama.cpp needs merges; a tokenizer.json, which transformers "
        "makes of tekken.json, has them",
        file);
  const std::string pieces = is_over_pieces(root, file) ? pieces_beside(folder) : "";
  if (pieces.empty()) return gguf_tokens_of_json(root, file);
  return gguf_tokens_of_pieces(read_sentencepiece_model(read_text_file(pieces), pieces),
                               added_tokens_of(root, file), pieces);
}

}  // namespace

GgufMetadata gguf_tokenizer_metadata(const std::string& tokenizer_directory, int64_t vocab_size) {
  std::error_code ignored;
  const bool is_folder = fs::is_directory(tokenizer_directory, ignored);
  const fs::path folder =
      is_folder ? fs::path(tokenizer_directory) : fs::path(tokenizer_directory).parent_path();
  const TokenizerConfig config = is_folder ? read_tokenizer_config(folder) : TokenizerConfig{};
  const auto tokenizer = load_tokenizer(tokenizer_directory);
  const json root = parse_json(tokenizer->to_json(), tokenizer_directory);
  GgufTokens made = tokens_of(folder, root, tokenizer_directory);
  return TokenizerKeys(std::move(made), config, *tokenizer, tokenizer_directory).build(vocab_size);
}

}  // namespace trireme
