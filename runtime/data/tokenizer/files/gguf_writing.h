// Tokens of tokenizer.json and of SentencePiece's models as GGUF has them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/data/tokenizer/added_tokens.h"
#include "runtime/data/tokenizer/files/gguf_vocabulary.h"
#include "runtime/data/tokenizer/files/sentencepiece_model.h"
#include "runtime/io/gguf/gguf_value.h"

namespace trireme {

/// What a kind of tokenizer gives: `tokens` by id, unused where an id is free, and the keys that are its own
/// (tokenizer.ggml.model, pre, merges, ...).
struct GgufTokens {
  std::vector<GgufToken> tokens;
  bool has_scores = false;
  std::map<std::string, int32_t> roles;  ///< that the tokenizer's own file names: "bos", "eos", "padding"
  bool says_around = true;               ///< whether it says what is put around a text
  GgufMetadata keys;
};

// Each is a UserError(usage) naming `file` and what llama.cpp has no equal of.

/// A tokenizer.json: BPE over bytes (gpt2), BPE over characters with byte fallback (llama), WordPiece (bert).
GgufTokens gguf_tokens_of_json(const nlohmann::json& root, const std::string& file);
/// A SentencePiece model (llama, t5), with added tokens of other files.
GgufTokens gguf_tokens_of_pieces(const SentencePieceModel& model, const std::vector<AddedToken>& added,
                                 const std::string& file);

/// BPE over characters (the file's model and added tokens) as pieces with scores that make SentencePiece's
/// algorithm do what the merges do.
GgufTokens gguf_tokens_of_merges(const nlohmann::json& root, const std::string& file);

/// Puts added tokens in their places among `tokens`, which grow as needed. `spells_blanks`: GGUF has blanks
/// where SentencePiece has marks.
void add_gguf_tokens(const std::vector<AddedToken>& added, bool spells_blanks, const std::string& file,
                     std::vector<GgufToken>& tokens);
/// The member added_tokens of a tokenizer.json.
std::vector<AddedToken> added_tokens_of(const nlohmann::json& root, const std::string& file);

}  // namespace trireme
