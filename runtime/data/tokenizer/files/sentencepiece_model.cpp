#include "runtime/data/tokenizer/files/sentencepiece_model.h"

#include <cmath>
#include <set>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/wire_reader.h"
#include "runtime/data/tokenizer/steps/decoder.h"
#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

SentencePiece read_piece(std::string_view message, const std::string& name) {
  SentencePiece piece;
  WireReader reader(message, name);
  for (WireField field; reader.next(field);) {
    if (field.number == 1) piece.text = field.as_bytes(name);
    if (field.number == 2) piece.score = field.as_float(name);
    if (field.number == 3) {
      const int32_t type = field.as_int(name);
      if (type < 1 || type > 6) throw_bad_input("{} has the type {}", name, type);
      piece.type = static_cast<PieceType>(type);
    }
  }
  if (piece.text.empty() || find_utf8_error(piece.text)) throw_bad_input("{} is empty or not UTF-8", name);
  if (!std::isfinite(piece.score)) throw_bad_input("{} has a score that is not finite", name);
  return piece;
}

void read_trainer(std::string_view message, SentencePieceModel& model, const std::string& file) {
  const std::string name = fmt::format("{}: its trainer_spec", file);
  WireReader reader(message, name);
  for (WireField field; reader.next(field);) {
    if (field.number == 3) {
      const int32_t type = field.as_int(name);
      if (type != 1 && type != 2)
        throw_bad_input("{} has the model type {}; 1 (UNIGRAM) and 2 (BPE) are supported", name, type);
      model.type = static_cast<SentencePieceModel::Type>(type);
    }
    if (field.number == 24 && field.as_flag(name))
      throw_bad_input("{} sets treat_whitespace_as_suffix, which is not supported", name);
    if (field.number == 35) model.byte_fallback = field.as_flag(name);
    if (field.number == 40) model.unknown_id = field.as_int(name);
    if (field.number == 41) model.begin_id = field.as_int(name);
    if (field.number == 42) model.end_id = field.as_int(name);
    if (field.number == 43) model.pad_id = field.as_int(name);
    if (field.number == 44) model.unknown_surface = field.as_bytes(name);
  }
}

SentencePieceRules read_rules(std::string_view message, const std::string& name) {
  SentencePieceRules rules;
  WireReader reader(message, name);
  for (WireField field; reader.next(field);) {
    if (field.number == 2) {
      rules.charsmap = field.as_bytes(name);
      rules.map = Charsmap(rules.charsmap, name);
    }
    if (field.number == 3) rules.add_dummy_prefix = field.as_flag(name);
    if (field.number == 4) rules.remove_extra_whitespaces = field.as_flag(name);
    if (field.number == 5) rules.escape_whitespaces = field.as_flag(name);
  }
  return rules;
}

void check_denormalizer(std::string_view message, const std::string& name) {
  WireReader reader(message, name);
  for (WireField field; reader.next(field);) {
    if (field.number == 2 && !field.as_bytes(name).empty())
      throw_bad_input("{} has rules of its own, which are not supported", name);
  }
}

void check_pieces(const SentencePieceModel& model, const std::string& file) {
  if (model.pieces.empty()) throw_bad_input("{} has no pieces: it is not a model of SentencePiece's", file);
  std::set<std::string_view> texts;
  std::set<uint8_t> bytes;
  int num_unknown = 0;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    if (!texts.insert(piece.text).second)
      throw_bad_input("{}: the piece \"{}\" stands twice", file, piece.text);
    if (piece.type == PieceType::unknown) {
      ++num_unknown;
      if (static_cast<int64_t>(id) != model.unknown_id)
        throw_bad_input("{}: the unknown piece has id {}, but unk_id is {}", file, id, model.unknown_id);
    }
    if (piece.type != PieceType::byte) continue;
    const auto byte = fallback_byte(piece.text);
    if (!byte) throw_bad_input("{}: the piece \"{}\" is said to be a byte", file, piece.text);
    bytes.insert(*byte);
  }
  if (num_unknown != 1)
    throw_bad_input("{}: {} pieces are for the unknown; one is needed", file, num_unknown);
  if (model.byte_fallback && bytes.size() != 256)
    throw_bad_input("{} has byte_fallback, but pieces for {} of 256 bytes", file, bytes.size());
}

}  // namespace

SentencePieceModel read_sentencepiece_model(std::string_view bytes, const std::string& file) {
  SentencePieceModel model;
  WireReader reader(bytes, file);
  for (WireField field; reader.next(field);) {
    if (field.number == 1) {
      model.pieces.push_back(
          read_piece(field.as_bytes(file), fmt::format("{}: piece {}", file, model.pieces.size())));
    }
    if (field.number == 2) read_trainer(field.as_bytes(file), model, file);
    if (field.number == 3)
      model.rules = read_rules(field.as_bytes(file), fmt::format("{}: its normalizer_spec", file));
    if (field.number == 5)
      check_denormalizer(field.as_bytes(file), fmt::format("{}: its denormalizer_spec", file));
  }
  check_pieces(model, file);
  return model;
}

// The first field is a piece, and its first field the text: shorter than the piece.
bool begins_like_sentencepiece(std::string_view bytes) {
  constexpr char kFirstField = '\x0A';
  if (bytes.size() < 5 || bytes[0] != kFirstField || bytes[2] != kFirstField) return false;
  return bytes[1] > 0 && bytes[3] > 0 && bytes[1] >= bytes[3] + 2;
}

std::string write_sentencepiece_model(const SentencePieceModel& model) {
  WireWriter all, trainer, rules;
  for (const auto& piece : model.pieces) {
    WireWriter one;
    one.bytes(1, piece.text);
    one.real(2, piece.score);
    if (piece.type != PieceType::normal) one.integer(3, static_cast<int32_t>(piece.type));
    all.bytes(1, one.message());
  }
  trainer.integer(3, static_cast<int32_t>(model.type));
  trainer.integer(35, model.byte_fallback ? 1 : 0);
  trainer.integer(40, model.unknown_id);
  trainer.integer(41, model.begin_id);
  trainer.integer(42, model.end_id);
  trainer.integer(43, model.pad_id);
  trainer.bytes(44, model.unknown_surface);
  rules.bytes(2, model.rules.charsmap);
  rules.integer(3, model.rules.add_dummy_prefix ? 1 : 0);
  rules.integer(4, model.rules.remove_extra_whitespaces ? 1 : 0);
  rules.integer(5, model.rules.escape_whitespaces ? 1 : 0);
  all.bytes(2, trainer.message());
  all.bytes(3, rules.message());
  return all.message();
}

}  // namespace trireme
