#include <map>
#include <set>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/gguf_writing.h"
#include "runtime/data/tokenizer/files/json_steps.h"
#include "runtime/data/tokenizer/files/token_lists.h"
#include "runtime/data/tokenizer/files/vocabulary_builder.h"
#include "runtime/data/tokenizer/steps/decoder.h"
#include "runtime/data/tokenizer/steps/splitter.h"
#include "runtime/io/json/json_file.h"
#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

using nlohmann::json;

template <class... Args>
[[noreturn]] void refuse_pieces(const std::string& file, fmt::format_string<Args...> format, Args&&... args) {
  throw_usage("{} cannot be written as GGUF: {}", file, fmt::format(format, std::forward<Args>(args)...));
}

/// What llama.cpp does before it looks for pieces: blanks become marks, and one may come first.
struct MarkRules {
  bool prepends = false;
};

// The normalizers and pre-tokenizers that converters of Llama, Mistral and Gemma write.
MarkRules mark_rules_of(const json& root, const std::string& file) {
  MarkRules rules;
  bool replaces = false;
  const auto take_normalizer = [&](const json& step, const auto& self) -> void {
    const std::string& type = type_of(step, "normalizer", file);
    if (type == "Sequence") {
      for (const json& one : json_member(step, "normalizers", file)) self(one, self);
    } else if (type == "Prepend" && step.value("prepend", json()) == kSpaceMark) {
      rules.prepends = true;
    } else if (type == "Replace" && step.value("pattern", json()) == json{{"String", " "}} &&
               step.value("content", json()) == kSpaceMark) {
      replaces = true;
    } else {
      refuse_pieces(file, "llama.cpp has no normalizer {} for pieces", type);
    }
  };
  if (!is_absent(root, "normalizer")) take_normalizer(root["normalizer"], take_normalizer);
  if (!is_absent(root, "pre_tokenizer")) {
    const json& step = root["pre_tokenizer"];
    const std::string& type = type_of(step, "pre_tokenizer", file);
    const bool cuts_nothing =
        type == "Split" && replaces && step.value("pattern", json()) == json{{"String", " "}};
    const bool is_marks = type == "Metaspace" && step.value("replacement", json()) == kSpaceMark;
    if (!cuts_nothing && !is_marks) refuse_pieces(file, "llama.cpp has no pre-tokenizer {} for pieces", type);
    if (is_marks) {
      replaces = true;
      rules.prepends |= step.value("prepend_scheme", json("always")) != "never";
    }
  }
  if (!replaces) refuse_pieces(file, "llama.cpp writes blanks as marks, and this tokenizer does not");
  return rules;
}

// Where merges say what ranks alone would: the score is the rank of a token's first merge.
class MergeScores {
 public:
  MergeScores(const json& list, const std::string& file) : file_(file) {
    std::string last;
    for_each_merge({}, list, file, [&](std::string_view left, std::string_view right, const std::string&) {
      const std::string whole = fmt::format("{}{}", left, right);
      const auto [it, is_new] = ranks_.emplace(whole, static_cast<int32_t>(pairs_.size()));
      if (!is_new && whole != last)
        refuse_pieces(file_, "merges to \"{}\" stand apart, which scores of pieces cannot say", whole);
      pairs_.emplace(left, right);
      last = whole;
    });
  }

  /// Sets the scores; every way to put a token together must be a merge.
  void apply(std::vector<GgufToken>& tokens) const {
    std::set<std::string, std::less<>> parts;
    for (const auto& token : tokens) {
      if (token.type != PieceType::normal) continue;
      parts.insert(token.text);
      for (size_t i = 0; i < token.text.size();) {
        const size_t begin = i;
        next_code_point(token.text, i);
        parts.insert(token.text.substr(begin, i - begin));
      }
    }
    for (auto& token : tokens) {
      if (token.type != PieceType::normal) continue;
      const auto rank = ranks_.find(token.text);
      if (rank != ranks_.end()) token.score = -static_cast<float>(rank->second);
      check_cuts(token.text, parts);
    }
  }

 private:
  void check_cuts(const std::string& text, const std::set<std::string, std::less<>>& parts) const {
    const std::string_view whole = text;
    for (size_t cut = 0; next_code_point(whole, cut), cut < whole.size();) {
      const auto left = whole.substr(0, cut), right = whole.substr(cut);
      if (parts.contains(left) && parts.contains(right) &&
          !pairs_.contains(std::pair(std::string(left), std::string(right))))
        refuse_pieces(file_, "llama.cpp would merge \"{}\" and \"{}\", which its merges do not", left, right);
    }
  }

  const std::string& file_;
  std::map<std::string, int32_t, std::less<>> ranks_;
  std::set<std::pair<std::string, std::string>> pairs_;
};

void add_rules(bool prepends, bool removes_blanks, GgufTokens& out) {
  out.keys.emplace_back("tokenizer.ggml.add_space_prefix", prepends);
  if (removes_blanks) out.keys.emplace_back("tokenizer.ggml.remove_extra_whitespaces", true);
}

}  // namespace

GgufTokens gguf_tokens_of_merges(const json& root, const std::string& file) {
  const json& model = json_member(root, "model", file);
  const MarkRules rules = mark_rules_of(root, file);
  GgufTokens out;
  out.has_scores = true;
  out.keys.emplace_back("tokenizer.ggml.model", "llama");
  out.keys.emplace_back("tokenizer.ggml.pre", "default");
  VocabularyBuilder builder(file);
  for (const auto& [token, id] : json_member(model, "vocab", file).items())
    builder.add(token,
                json_index(id, VocabularyBuilder::kMostTokens, fmt::format("the id of \"{}\"", token), file));
  const auto unknown = is_absent(model, "unk_token") ? std::string() : model["unk_token"].get<std::string>();
  for (auto& text : builder.tokens()) {
    const PieceType type = text.empty()          ? PieceType::unused
                           : text == unknown     ? PieceType::unknown
                           : fallback_byte(text) ? PieceType::byte
                                                 : PieceType::normal;
    out.tokens.push_back({std::move(text), 0, type});
  }
  add_gguf_tokens(added_tokens_of(root, file), true, file, out.tokens);
  MergeScores(json_member(model, "merges", file), file).apply(out.tokens);
  add_rules(rules.prepends, false, out);
  return out;
}

GgufTokens gguf_tokens_of_pieces(const SentencePieceModel& model, const std::vector<AddedToken>& added,
                                 const std::string& file) {
  const bool is_bpe = model.type == SentencePieceModel::Type::bpe;
  if (!model.rules.escape_whitespaces)
    refuse_pieces(file, "it keeps blanks as they are (escape_whitespaces), llama.cpp writes marks");
  if (is_bpe && !model.rules.charsmap.empty())
    refuse_pieces(file,
                  "its model normalizes texts by a map of characters, llama.cpp's BPE of pieces does not");
  if (is_bpe && model.rules.remove_extra_whitespaces)
    refuse_pieces(file,
                  "it drops extra blanks (remove_extra_whitespaces), llama.cpp's BPE of pieces does not");
  GgufTokens out;
  out.has_scores = true;
  out.keys.emplace_back("tokenizer.ggml.model", is_bpe ? "llama" : "t5");
  out.keys.emplace_back("tokenizer.ggml.pre", "default");
  for (const auto& piece : model.pieces) out.tokens.push_back({piece.text, piece.score, piece.type});
  const auto is_control = [&](int32_t id) {
    return id >= 0 && static_cast<size_t>(id) < model.pieces.size() &&
           model.pieces[static_cast<size_t>(id)].type == PieceType::control;
  };
  for (const auto& [role, id] : {std::pair("bos", model.begin_id), std::pair("eos", model.end_id),
                                 std::pair("padding", model.pad_id)}) {
    if (is_control(id)) out.roles.emplace(role, id);
  }
  out.says_around = false;
  add_gguf_tokens(added, true, file, out.tokens);
  add_rules(model.rules.add_dummy_prefix, model.rules.remove_extra_whitespaces, out);
  if (!model.rules.charsmap.empty()) {
    const auto& map = model.rules.charsmap;
    out.keys.emplace_back("tokenizer.ggml.precompiled_charsmap",
                          std::vector<uint8_t>(map.begin(), map.end()));
  }
  return out;
}

}  // namespace trireme
