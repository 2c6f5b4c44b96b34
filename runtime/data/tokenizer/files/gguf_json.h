// Tokens of a GGUF file as the tokenizer.json that they came from.
#pragma once

#include <optional>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/data/tokenizer/added_tokens.h"
#include "runtime/data/tokenizer/files/gguf_vocabulary.h"

namespace trireme {

/// What is put around a text, and the token that ends one.
struct GgufAround {
  std::optional<int32_t> begin, end, last;
};
/// The flags say what holds where the file says nothing. UserError(bad_input) when a token is to be added
/// that the file does not name.
GgufAround gguf_around(const GgufVocabulary& vocabulary, bool adds_bos, bool adds_eos);

/// Tokens that stand for themselves in a text: control and user-defined ones, and those that end or begin
/// one.
std::vector<AddedToken> gguf_added_tokens(const GgufVocabulary& vocabulary);

/// Of the models gpt2 and bert. UserError(bad_input) naming file, key and value for what is missing or
/// unknown.
nlohmann::json gguf_bpe_json(const GgufVocabulary& vocabulary);
nlohmann::json gguf_wordpiece_json(const GgufVocabulary& vocabulary);

}  // namespace trireme
