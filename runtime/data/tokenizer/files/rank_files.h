// Vocabularies of byte-pair encodings that have ranks instead of merges: tiktoken's files and Mistral's
// tekken.json.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme {

/// Whether `bytes` begins as a rank file does: base64, a blank, a number.
bool begins_like_ranks(std::string_view bytes);

/// A rank file (a token in base64 and its rank a line). What it does not hold, its pattern and special
/// tokens, follows from the name of the encoding: cl100k_base, o200k_base, p50k_base, r50k_base, qwen, and
/// Llama 3's tokenizer.model. UserError(bad_input) naming `file` for another name or another number of ranks.
std::unique_ptr<Tokenizer> read_tiktoken(std::string_view bytes, const std::string& file,
                                         const std::string& end_of_text);
/// What to_json() of those wrote.
std::unique_ptr<Tokenizer> read_saved_tiktoken(const nlohmann::json& json, const std::string& file,
                                               const std::string& end_of_text);

/// Mistral's tekken.json. Special tokens are never found in texts; <s> is put before a whole one.
std::unique_ptr<Tokenizer> read_tekken(const nlohmann::json& json, const std::string& file,
                                       const std::string& end_of_text);

}  // namespace trireme
