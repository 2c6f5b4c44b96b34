// The bytes that each token of a tokenizer adds to a text.
#pragma once

#include <string>
#include <vector>

#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme::launch {

/// By id, for TokenMasks: what TextStream writes for the token in the middle of a text (at its beginning some
/// tokenizers leave out a blank), and the byte itself of one that stands for a byte, such as <0xC3>. Empty:
/// special tokens, and those that add nothing. `vocab_size`: so many, of which those beyond the tokenizer's
/// are empty. UserError(bad_input) for a tokenizer whose tokens' texts depend on the tokens beside them.
std::vector<std::string> token_texts(const Tokenizer& tokenizer, int64_t vocab_size);

}  // namespace trireme::launch
