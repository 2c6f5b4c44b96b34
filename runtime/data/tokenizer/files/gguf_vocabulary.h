// The tokens in a GGUF file's metadata, as plain data.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/tokenizer/files/sentencepiece_model.h"
#include "runtime/io/gguf/gguf.h"

namespace trireme {

struct GgufToken {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;  ///< the numbers are SentencePiece's
};

class GgufVocabulary {
 public:
  /// tokenizer.ggml.tokens, token_type and scores. UserError(bad_input) naming file, key and place.
  explicit GgufVocabulary(const GgufReader& gguf);

  const std::string& file() const { return gguf_.path(); }
  const GgufReader& gguf() const { return gguf_; }
  const std::vector<GgufToken>& tokens() const { return tokens_; }
  std::vector<GgufToken>& tokens() { return tokens_; }

  /// tokenizer.ggml.ROLE_token_id; nothing where it is not there or -1. UserError(bad_input) when it is no
  /// id.
  std::optional<int32_t> role(std::string_view role) const;
  /// tokenizer.ggml.KEY as a flag.
  bool flag(std::string_view key, bool fallback) const;

 private:
  const GgufReader& gguf_;
  std::vector<GgufToken> tokens_;
};

/// "[PAD12]" and the like: ids that a model has beyond its tokenizer.
bool is_padding(const GgufToken& token);
std::string padding_token(int64_t id);

}  // namespace trireme
