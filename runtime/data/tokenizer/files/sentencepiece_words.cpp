#include "runtime/data/tokenizer/files/sentencepiece_words.h"

#include <algorithm>
#include <limits>
#include <set>
#include <unordered_map>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/vocabulary_builder.h"
#include "runtime/data/tokenizer/models/bpe_words.h"
#include "runtime/data/tokenizer/models/unigram_words.h"
#include "runtime/data/tokenizer/steps/splitter.h"
#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

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

// SentencePiece merges to unused pieces too, and takes them apart again; those that no merge makes are never
// met.
void check_unused(const SentencePieceModel& model, const Vocabulary& parts, const std::string& file) {
  for (const auto& piece : model.pieces) {
    if (piece.type != PieceType::unused) continue;
    const std::string_view text = piece.text;
    for (size_t cut = 1; cut < text.size(); ++cut) {
      if (parts.contains(text.substr(0, cut)) && parts.contains(text.substr(cut)))
        throw_bad_input("{}: \"{}\" is unused, but its parts are pieces, which is not supported", file, text);
    }
  }
}

}  // namespace

std::shared_ptr<const WordModel> make_sentencepiece_bpe(const SentencePieceModel& model,
                                                        const std::string& file, bool& crosses_words) {
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
  check_unused(model, parts, file);
  auto merges = merges_of_ranks(parts, tokens);
  return std::make_shared<BpeWords>(std::move(parts), std::move(merges), options);
}

std::shared_ptr<const WordModel> make_sentencepiece_unigram(const SentencePieceModel& model) {
  UnigramOptions options;
  options.unknown = model.unknown_id;
  options.byte_fallback = model.byte_fallback;
  options.in_floats = true;
  // SentencePiece begins its search for the largest score at FLT_MIN, above all scores, which are negative.
  float least = 0, most = std::numeric_limits<float>::min();
  bool is_any = false;
  for (const auto& piece : model.pieces) {
    if (piece.type != PieceType::normal) continue;
    least = is_any ? std::min(least, piece.score) : piece.score;
    most = std::max(most, piece.score);
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

}  // namespace trireme
