// Tokenizers of SentencePiece's tokenizer.model.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme {

/// Gives the ids and texts that SentencePiece gives, which adds no ids at begin or end and never takes a
/// control symbol out of a text. UserError(bad_input) naming `file` as read_sentencepiece_model.
/// `end_of_text` as load_tokenizer's; by itself it is the model's eos_id.
std::unique_ptr<Tokenizer> read_sentencepiece(std::string_view bytes, const std::string& file,
                                              const std::string& end_of_text);
/// What to_json() of those wrote.
std::unique_ptr<Tokenizer> read_saved_sentencepiece(const nlohmann::json& json, const std::string& file,
                                                    const std::string& end_of_text);

}  // namespace trireme
