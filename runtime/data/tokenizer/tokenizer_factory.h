// From what the user names to a tokenizer.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/data/text_documents.h"
#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme {

/// `spec`: "byte"; a file (Hugging Face's tokenizer.json, SentencePiece's tokenizer.model, tiktoken's rank
/// files, tekken.json, or what Tokenizer::save wrote); or a folder that holds tokenizer.json, tekken.json,
/// tokenizer.model, encoder.json with vocab.bpe, or vocab.json with merges.txt. UserError(bad_input)
/// naming the file when it cannot be used, UserError(usage) for "char" and "bpe", which are trained.
/// `end_of_text` names the token that stands between documents; empty: found by published names.
/// UserError(usage) for a token that the tokenizer does not have, and for a name where no tokenizer file is
/// read.
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& spec, const std::string& end_of_text = "");

/// The tokenizer of a file with these bytes; what it is is known by them. `name` is the file's.
std::unique_ptr<Tokenizer> read_tokenizer(const std::string& bytes, const std::string& name,
                                          const std::string& end_of_text = "");

/// As load_tokenizer, and "char" and "bpe" are trained on `input`; `bpe_vocab_size` is for "bpe" only.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& spec, const TextInput& input,
                                          int64_t bpe_vocab_size, const std::string& end_of_text = "");

}  // namespace trireme
