// Tokenizers of SentencePiece's tokenizer.model.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "runtime/data/tokenizer/added_tokens.h"
#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme {

/// What files beside the model say.
struct SentencePieceExtras {
  std::vector<AddedToken> added;  ///< found in texts before SentencePiece sees them; pieces or new ids
  std::vector<int32_t> begin_ids, end_ids;  ///< see Tokenizer

  bool is_empty() const { return added.empty() && begin_ids.empty() && end_ids.empty(); }
};

/// Gives the ids and texts that SentencePiece gives, which adds no ids at begin or end and never takes a
/// control symbol out of a text, but for what `extras` says: of these, decoded text holds control symbols
/// too, and what stands between two added tokens is normalized by itself. UserError(bad_input) naming `file`
/// as read_sentencepiece_model. `end_of_text` as load_tokenizer's; by itself it is the model's eos_id.
std::unique_ptr<Tokenizer> read_sentencepiece(std::string_view bytes, const std::string& file,
                                              const std::string& end_of_text,
                                              const SentencePieceExtras& extras = {});
/// What to_json() of those wrote.
std::unique_ptr<Tokenizer> read_saved_sentencepiece(const nlohmann::json& json, const std::string& file,
                                                    const std::string& end_of_text);

}  // namespace trireme
