#include "runtime/data/tokenizer/files/sentencepiece_file.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/base64.h"
#include "runtime/data/tokenizer/files/json_steps.h"
#include "runtime/data/tokenizer/files/sentencepiece_model.h"
#include "runtime/data/tokenizer/files/vocabulary_builder.h"
#include "runtime/data/tokenizer/models/bpe_words.h"
#include "runtime/data/tokenizer/models/unigram_words.h"
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
DecodeStep make_piece_decoder(const SentencePieceModel& model) {
  std::unordered_map<std::string, PieceType> types;
  for (const auto& piece : model.pieces) {
    if (piece.type != PieceType::normal && piece.type != PieceType::user_defined)
      types.emplace(piece.text, piece.type);
  }
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

/// Characters of pieces that are no pieces themselves, with ids beyond all of these: they may become part of
/// one.
void add_virtual_characters(const SentencePieceModel& model, Vocabulary& parts) {
  auto next = static_cast<int32_t>(model.pieces.size());
  for (const auto& piece : model.pieces) {
    if (piece.type != PieceType::normal) continue;
    for (size_t i = 0; i < piece.text.size();) {
      const size_t begin = i;
      next_code_point(piece.text, i);
      if (parts.emplace(piece.text.substr(begin, i - begin), next).second) ++next;
    }
  }
}

std::shared_ptr<const WordModel> make_bpe(const SentencePieceModel& model, bool& crosses_words) {
  // The better the score the lower the rank; equal scores have equal ranks.
  std::set<float, std::greater<>> scores;
  Vocabulary parts;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    if (piece.type == PieceType::byte) parts.emplace(piece.text, static_cast<int32_t>(id));
    if (piece.type != PieceType::normal) continue;
    scores.insert(piece.score);
    parts.emplace(piece.text, static_cast<int32_t>(id));
    crosses_words |= has_mark_inside(piece.text);
  }
  std::unordered_map<float, int32_t> ranks;
  for (const float score : scores) ranks.emplace(score, static_cast<int32_t>(ranks.size()));
  crosses_words |= !parts.contains(kSpaceMark);
  add_virtual_characters(model, parts);
  std::vector<std::pair<std::string_view, RankedMerge>> tokens;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    if (piece.type == PieceType::normal)
      tokens.emplace_back(piece.text, RankedMerge{ranks.at(piece.score), static_cast<int32_t>(id)});
  }
  BpeOptions options;
  options.byte_fallback = model.byte_fallback;
  options.fuse_unknown = true;
  options.unknown = model.unknown_id;
  options.first_virtual_id = static_cast<int32_t>(model.pieces.size());
  auto merges = merges_of_ranks(parts, tokens);
  return std::make_shared<BpeWords>(std::move(parts), std::move(merges), options);
}

std::shared_ptr<const WordModel> make_unigram(const SentencePieceModel& model) {
  UnigramOptions options;
  options.unknown = model.unknown_id;
  options.byte_fallback = model.byte_fallback;
  options.in_floats = true;
  float least = 0, most = 0;
  bool is_any = false;
  for (const auto& piece : model.pieces) {
    if (piece.type != PieceType::normal) continue;
    least = is_any ? std::min(least, piece.score) : piece.score;
    most = is_any ? std::max(most, piece.score) : piece.score;
    is_any = true;
  }
  options.least_score = least;
  std::vector<UnigramPiece> pieces;
  for (const auto& piece : model.pieces) {
    const bool is_symbol = piece.type == PieceType::user_defined;
    // A user-defined symbol is better than whatever else could stand in its place.
    const double score = is_symbol ? static_cast<float>(piece.text.size()) * most - 0.1 : piece.score;
    pieces.push_back({piece.text, score, is_symbol || piece.type == PieceType::normal, is_symbol});
  }
  return std::make_shared<UnigramWords>(pieces, options);
}

std::unique_ptr<Tokenizer> make_sentencepiece(std::string_view bytes, const std::string& file,
                                              const std::string& end_of_text) {
  SentencePieceModel model = read_sentencepiece_model(bytes, file);
  TokenizerParts parts;
  std::vector<AddedToken> symbols;
  std::vector<std::pair<std::string, int32_t>> marks;
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const auto& piece = model.pieces[i];
    parts.tokens.push_back(piece.text);
    if (piece.type == PieceType::control || piece.type == PieceType::unknown) parts.control.push_back(id);
    if (piece.type == PieceType::control || piece.type == PieceType::user_defined)
      marks.emplace_back(piece.text, id);
    if (piece.type == PieceType::user_defined) symbols.push_back({id, piece.text, false, true});
  }
  bool crosses_words = false;
  if (model.type == SentencePieceModel::Type::bpe) {
    parts.kind = "bpe";
    parts.model = make_bpe(model, crosses_words);
    if (!crosses_words) parts.splitter = make_marked_words();
    parts.added = symbols;
    parts.added_is_normal = true;
  } else {
    parts.kind = "unigram";
    parts.model = make_unigram(model);
  }
  parts.decode_steps = {make_piece_decoder(model)};
  const auto normalizer = std::make_shared<const PieceNormalizer>(std::move(model.rules), std::move(symbols));
  parts.normalizer = [normalizer](TextPiece& piece) { piece.text = normalizer->normalize(piece.text); };
  const bool has_end = model.end_id >= 0 && static_cast<size_t>(model.end_id) < model.pieces.size() &&
                       model.pieces[static_cast<size_t>(model.end_id)].type == PieceType::control;
  parts.end_of_text =
      has_end && end_of_text.empty() ? std::optional(model.end_id) : find_end_of_text(marks, end_of_text);
  json saved{{"type", "trireme-sentencepiece"}, {"version", 1}, {"model", encode_base64(bytes)}};
  if (!end_of_text.empty()) saved["trireme_end_of_text"] = end_of_text;
  return std::make_unique<PipelineTokenizer>(std::move(parts), saved.dump() + "\n");
}

}  // namespace

std::unique_ptr<Tokenizer> read_sentencepiece(std::string_view bytes, const std::string& file,
                                              const std::string& end_of_text) {
  return make_sentencepiece(bytes, file, end_of_text);
}

std::unique_ptr<Tokenizer> read_saved_sentencepiece(const json& root, const std::string& file,
                                                    const std::string& end_of_text) {
  json_index(json_member(root, "version", file), 2, "\"version\"", file);
  const auto bytes = decode_base64(json_string(json_member(root, "model", file), "\"model\"", file));
  if (!bytes) throw_bad_input("{}: \"model\" is not base64", file);
  const bool is_named = end_of_text.empty() && !is_absent(root, "trireme_end_of_text");
  return make_sentencepiece(
      *bytes, file,
      is_named ? json_string(root["trireme_end_of_text"], "\"trireme_end_of_text\"", file) : end_of_text);
}

}  // namespace trireme
