// Tokenizers of this program's own kinds as files that other programs read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace trireme::launch {

/// A run's tokenizer as Hugging Face's tokenizers library has it.
struct TokenizerExport {
  std::string json;               ///< tokenizer.json
  std::optional<int32_t> end_id;  ///< of the token that ends documents
  std::string end_token;          ///< its content; empty: there is none
};

/// Of the tokenizer.json of a run: one of Hugging Face's as it is, without a key of ours; byte and char as
/// BPE without merges and as words of one character. UserError (usage) naming file and kind for others,
/// which came from a file that is to be given instead.
TokenizerExport export_tokenizer(const std::string& file);

/// Whether a run's tokenizer.json is of the kinds byte or char, which no other program has.
bool is_own_kind(const std::string& file);

}  // namespace trireme::launch
