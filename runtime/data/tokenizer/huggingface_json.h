// Byte-level BPE tokenizers as files: Hugging Face's tokenizer.json, and GPT-2's pair of files.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "runtime/data/tokenizer/bpe_model.h"
#include "runtime/data/tokenizer/files/token_lists.h"

namespace trireme {

/// Reads a tokenizer.json: model BPE (merges as "a b" or ["a", "b"]), pre-tokenizer ByteLevel or a Sequence
/// of Split and ByteLevel, no normalizer. The post-processor gives begin_ids and end_ids. Whatever
/// would change the ids and is not supported here, and every inconsistency, is a UserError(bad_input) that
/// names `name`. Of the two long lists `json` lacks what `lists` has.
BpeModel read_huggingface_json(const nlohmann::json& json, const std::string& name,
                               const TokenLists& lists = {});

/// Whether read_huggingface_json takes files of this form, or should name what is wrong with them; the others
/// are files/tokenizer_json.h's.
bool is_plain_bpe(const nlohmann::json& json);

/// An entry of "added_tokens".
AddedToken read_added_token(const nlohmann::json& entry, const std::string& name);
nlohmann::json json_of_added_token(const AddedToken& token);

/// A tokenizer.json of one line. Equal models give equal text.
std::string write_huggingface_json(const BpeModel& model);

/// GPT-2's encoder.json (token to id) and vocab.bpe (one merge a line, by rank), also found as vocab.json and
/// merges.txt. A token <|endoftext|> becomes an added token, beside those of `added`. UserError(bad_input) as
/// above, with the line.
BpeModel read_gpt2_files(const std::string& vocab_path, const std::string& merges_path,
                         const std::vector<AddedToken>& added = {});

}  // namespace trireme
