// A directory with a tokenizer, as published models have it.
#pragma once

#include <memory>
#include <string>

#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme {

/// The first of tokenizer.json, tekken.json, tokenizer.model, spiece.model, encoder.json with vocab.bpe,
/// vocab.json with merges.txt, one *.tiktoken, metadata.gguf and one *.gguf. What the files beside it say
/// (files/tokenizer_config.h) counts: added tokens that the tokenizer's own file does not have, what is put
/// around a text, and the eos token, which ends texts unless `end_of_text` names another.
/// UserError(bad_input) as load_tokenizer, and where the files contradict each other.
std::unique_ptr<Tokenizer> load_tokenizer_folder(const std::string& folder, const std::string& end_of_text);

}  // namespace trireme
