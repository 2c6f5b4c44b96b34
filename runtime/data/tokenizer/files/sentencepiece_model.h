// SentencePiece's tokenizer.model, as plain data.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/tokenizer/steps/charsmap.h"

namespace trireme {

enum class PieceType { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct SentencePiece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;
};

struct SentencePieceRules {
  Charsmap map;
  std::string charsmap;  ///< the map as the file has it; empty for none
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
};

/// Defaults are those of sentencepiece_model.proto.
struct SentencePieceModel {
  enum class Type { unigram = 1, bpe = 2 } type = Type::unigram;
  std::vector<SentencePiece> pieces;
  SentencePieceRules rules;
  bool byte_fallback = false;
  int32_t unknown_id = 0, begin_id = 1, end_id = 2, pad_id = -1;
  std::string unknown_surface = " \u2047 ";  ///< what the unknown token decodes to
};

/// Reads a ModelProto. UserError(bad_input) naming `file` for what is none, for what is inconsistent, and for
/// what is not supported: the types WORD and CHAR, whitespace as a suffix, denormalization rules.
SentencePieceModel read_sentencepiece_model(std::string_view bytes, const std::string& file);

/// Whether a file with these bytes may be a ModelProto.
bool begins_like_sentencepiece(std::string_view bytes);

/// The ModelProto that read_sentencepiece_model reads back.
std::string write_sentencepiece_model(const SentencePieceModel& model);

}  // namespace trireme
