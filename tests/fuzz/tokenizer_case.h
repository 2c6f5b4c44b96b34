// Files of tokenizers (tokenizer.json, SentencePiece's, tiktoken's, tekken.json, GGUF): known by their bytes,
// as they come.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/gguf/gguf.h"

namespace trireme::test {

/// Whether `input` is read as a tokenizer; ends the program when one that was read does not work.
bool run_tokenizer(std::string_view input);
std::vector<std::string> tokenizer_seeds();

/// The same of the tokenizer in a GGUF file.
bool run_gguf_tokenizer(const GgufReader& gguf);
std::vector<std::string> gguf_tokenizer_seeds();

}  // namespace trireme::test
