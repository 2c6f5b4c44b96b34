#include "runtime/data/tokenizer/files/sentencepiece_file.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/base64.h"
#include "runtime/data/tokenizer/files/json_steps.h"
#include "runtime/data/tokenizer/files/sentencepiece_words.h"
#include "runtime/data/tokenizer/huggingface_json.h"
#include "runtime/data/tokenizer/pipeline_tokenizer.h"
#include "runtime/io/json/json_file.h"
#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

using nlohmann::json;

// SentencePiece's normalization: from left to right user-defined symbols as they are, else the longest entry
// of the map, else the character; blanks become marks, and those at the ends and in succession go where the
// model says so.
class PieceNormalizer {
 public:
  PieceNormalizer(SentencePieceRules rules, std::vector<AddedToken> symbols)
      : rules_(std::move(rules)), symbols_(std::move(symbols)) {
    std::ranges::sort(symbols_, [](auto& a, auto& b) { return a.content.size() > b.content.size(); });
    for (const auto& symbol : symbols_) begins_[static_cast<uint8_t>(symbol.content[0])] = true;
  }

  std::string normalize(std::string_view text) const {
    const std::string_view space = rules_.escape_whitespaces ? kSpaceMark : " ";
    std::string out;
    if (rules_.remove_extra_whitespaces) {
      while (!text.empty() && prefix(text).replacement == " ") text.remove_prefix(prefix(text).length);
    }
    if (text.empty()) return out;
    if (rules_.add_dummy_prefix) out += space;
    bool follows_space = rules_.remove_extra_whitespaces;
    while (!text.empty()) {
      auto [piece, length] = prefix(text);
      while (follows_space && piece.starts_with(' ')) piece.remove_prefix(1);
      for (const char c : piece) c == ' ' ? out.append(space) : out.append(1, c);
      if (!piece.empty()) follows_space = rules_.remove_extra_whitespaces && piece.ends_with(' ');
      text.remove_prefix(length);
    }
    if (rules_.remove_extra_whitespaces) {
      while (out.ends_with(space)) out.resize(out.size() - space.size());
    }
    return out;
  }

 private:
  Charsmap::Entry prefix(std::string_view text) const {
    if (begins_[static_cast<uint8_t>(text[0])]) {
      for (const auto& symbol : symbols_) {
        if (text.starts_with(symbol.content))
          return {text.substr(0, symbol.content.size()), symbol.content.size()};
      }
    }
    if (const auto entry = rules_.map.longest(text)) return *entry;
    size_t length = 0;
    next_code_point(text, length);
    return {text.substr(0, length), length};
  }

  SentencePieceRules rules_;
  std::vector<AddedToken> symbols_;  ///< the longest first
  std::array<bool, 256> begins_{};   ///< with this byte
};

// Bytes in succession become characters where they are some, and U+FFFD one by one where not.
std::string text_of_bytes(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const auto error = find_utf8_error(bytes);
    out += bytes.substr(0, error ? error->offset : bytes.size());
    if (!error) break;
    out += "\xEF\xBF\xBD";
    bytes.remove_prefix(error->offset + 1);
  }
  return out;
}

// SentencePiece's decoding: marks of spaces to blanks, but for one at the beginning.
DecodeStep make_piece_decoder(const SentencePieceModel& model, const SentencePieceExtras& extras) {
  std::unordered_map<std::string, PieceType> types;
  for (const auto& piece : model.pieces) {
    if (piece.type != PieceType::normal && piece.type != PieceType::user_defined)
      types.emplace(piece.text, piece.type);
  }
  for (const auto& token : extras.added) types.erase(token.content);
  const bool drops_first = model.rules.add_dummy_prefix || model.rules.remove_extra_whitespaces;
  return [types, drops_first, drops_all = model.rules.remove_extra_whitespaces,
          unknown = model.unknown_surface](std::vector<std::string>& tokens) {
    std::string text, bytes;
    bool is_begin = true, has_dropped = false;
    for (const std::string& token : tokens) {
      const auto it = types.find(token);
      const PieceType type = it == types.end() ? PieceType::normal : it->second;
      if (type == PieceType::byte) {
        bytes += static_cast<char>(*fallback_byte(token));
        continue;
      }
      text += text_of_bytes(bytes);
      bytes.clear();
      if (has_dropped || !text.empty()) is_begin = false;
      has_dropped = false;
      if (type == PieceType::control) continue;
      if (type == PieceType::unknown) {
        text += unknown;
        continue;
      }
      std::string_view rest = token;
      if (is_begin && drops_first && rest.starts_with(kSpaceMark)) {
        rest.remove_prefix(kSpaceMark.size());
        has_dropped = !drops_all;
      }
      text += replace_all(rest, kSpaceMark, " ");
    }
    tokens = {text + text_of_bytes(bytes)};
  };
}

// Contents and ids of added tokens must agree with the pieces; new ones may lie beyond them.
void add_extras(const SentencePieceExtras& extras, const std::string& file, TokenizerParts& parts) {
  constexpr size_t kMostFree = 4096;
  const size_t most = parts.tokens.size() + extras.added.size() + kMostFree;
  for (const auto& token : extras.added) {
    const auto id = static_cast<size_t>(token.id);
    if (token.id < 0 || id >= most)
      throw_bad_input("{}: the added token \"{}\" has the id {} beside {} pieces", file, token.content,
                      token.id, parts.tokens.size());
    if (id >= parts.tokens.size()) parts.tokens.resize(id + 1);
    std::string& slot = parts.tokens[id];
    if (!slot.empty() && slot != token.content && replace_all(slot, kSpaceMark, " ") != token.content)
      throw_bad_input("{}: the piece {} is \"{}\", but the added token of this id is \"{}\"", file, token.id,
                      slot, token.content);
    slot = token.content;
    parts.added.push_back(token);
  }
  for (const auto* ids : {&extras.begin_ids, &extras.end_ids}) {
    for (const int32_t id : *ids) {
      if (id < 0 || static_cast<size_t>(id) >= parts.tokens.size())
        throw_bad_input("{}: the id {} around a text is none of {} tokens", file, id, parts.tokens.size());
    }
  }
  parts.begin_ids = extras.begin_ids;
  parts.end_ids = extras.end_ids;
}

json json_of(const SentencePieceExtras& extras) {
  json added = json::array();
  for (const auto& token : extras.added) added.push_back(json_of_added_token(token));
  return {{"added_tokens", added}, {"begin_ids", extras.begin_ids}, {"end_ids", extras.end_ids}};
}

SentencePieceExtras read_extras(const json& root, const std::string& file) {
  SentencePieceExtras extras;
  const auto list = [&](const char* key) -> const json& {
    const json& value = json_member(root, key, file);
    if (!value.is_array()) throw_bad_input("{}: \"{}\" must be a list", file, key);
    return value;
  };
  for (const json& entry : list("added_tokens")) {
    extras.added.push_back(read_added_token(entry, file));
    if (extras.added.back().content.empty()) throw_bad_input("{}: an added token is empty", file);
  }
  for (const json& id : list("begin_ids"))
    extras.begin_ids.push_back(static_cast<int32_t>(json_index(id, INT32_MAX, "\"begin_ids\"", file)));
  for (const json& id : list("end_ids"))
    extras.end_ids.push_back(static_cast<int32_t>(json_index(id, INT32_MAX, "\"end_ids\"", file)));
  return extras;
}

std::unique_ptr<Tokenizer> make_sentencepiece(std::string_view bytes, const std::string& file,
                                              const std::string& end_of_text,
                                              const SentencePieceExtras& extras) {
  SentencePieceModel model = read_sentencepiece_model(bytes, file);
  TokenizerParts parts;
  std::vector<AddedToken> symbols;
  std::vector<std::pair<std::string, int32_t>> marks;
  std::set<int32_t> extra_ids;
  for (const auto& token : extras.added) extra_ids.insert(token.id);
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const auto& piece = model.pieces[i];
    parts.tokens.push_back(piece.text);
    if (piece.type == PieceType::control || piece.type == PieceType::unknown) parts.control.push_back(id);
    if (piece.type == PieceType::control || piece.type == PieceType::user_defined)
      marks.emplace_back(piece.text, id);
    if (piece.type == PieceType::user_defined && !extra_ids.contains(id))
      symbols.push_back({id, piece.text, false, true});
  }
  for (const auto& token : extras.added) marks.emplace_back(token.content, token.id);
  bool crosses_words = false;
  if (model.type == SentencePieceModel::Type::bpe) {
    parts.kind = "bpe";
    parts.model = make_sentencepiece_bpe(model, file, crosses_words);
    if (!crosses_words) parts.splitter = make_marked_words();
    parts.added = symbols;
    parts.added_is_normal = true;
  } else {
    parts.kind = "unigram";
    parts.model = make_sentencepiece_unigram(model);
  }
  add_extras(extras, file, parts);
  parts.decode_steps = {make_piece_decoder(model, extras)};
  const auto normalizer = std::make_shared<const PieceNormalizer>(std::move(model.rules), std::move(symbols));
  parts.normalizer = [normalizer](TextPiece& piece) { piece.text = normalizer->normalize(piece.text); };
  const bool has_end = model.end_id >= 0 && static_cast<size_t>(model.end_id) < model.pieces.size() &&
                       model.pieces[static_cast<size_t>(model.end_id)].type == PieceType::control;
  parts.end_of_text =
      has_end && end_of_text.empty() ? std::optional(model.end_id) : find_end_of_text(marks, end_of_text);
  json saved{{"type", "trireme-sentencepiece"}, {"version", 1}, {"model", encode_base64(bytes)}};
  if (!extras.is_empty()) saved["extras"] = json_of(extras);
  if (!end_of_text.empty()) saved["trireme_end_of_text"] = end_of_text;
  return std::make_unique<PipelineTokenizer>(std::move(parts), saved.dump() + "\n");
}

}  // namespace

std::unique_ptr<Tokenizer> read_sentencepiece(std::string_view bytes, const std::string& file,
                                              const std::string& end_of_text,
                                              const SentencePieceExtras& extras) {
  return make_sentencepiece(bytes, file, end_of_text, extras);
}

std::unique_ptr<Tokenizer> read_saved_sentencepiece(const json& root, const std::string& file,
                                                    const std::string& end_of_text) {
  json_index(json_member(root, "version", file), 2, "\"version\"", file);
  const auto bytes = decode_base64(json_string(json_member(root, "model", file), "\"model\"", file));
  if (!bytes) throw_bad_input("{}: \"model\" is not base64", file);
  const bool is_named = end_of_text.empty() && !is_absent(root, "trireme_end_of_text");
  return make_sentencepiece(
      *bytes, file,
      is_named ? json_string(root["trireme_end_of_text"], "\"trireme_end_of_text\"", file) : end_of_text,
      is_absent(root, "extras") ? SentencePieceExtras{} : read_extras(root["extras"], file));
}

}  // namespace trireme
