// Hugging Face's tokenizer.json, any kind of it.
#pragma once

#include <memory>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "runtime/data/tokenizer/files/token_lists.h"
#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme {

/// Reads a tokenizer.json: models BPE, Unigram, WordPiece and WordLevel with the steps of json_steps.h.
/// Truncation and padding are not read: a text is encoded whole. Whatever else would change ids or text and
/// is not known, and every inconsistency, is a UserError(bad_input) that names `file`. `end_of_text` as
/// load_tokenizer's.
std::unique_ptr<Tokenizer> read_tokenizer_json(const nlohmann::json& json, const std::string& file,
                                               const std::string& end_of_text);
/// The same of one that is_plain_bpe(), of whose lists `json` lacks what `lists` has.
std::unique_ptr<Tokenizer> read_plain_bpe(const nlohmann::json& json, const TokenLists& lists,
                                          const std::string& file, const std::string& end_of_text);

}  // namespace trireme
