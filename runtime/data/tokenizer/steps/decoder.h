// From tokens back to text (Hugging Face's decoders).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/tokenizer/pattern/pattern.h"
#include "runtime/data/tokenizer/steps/splitter.h"

namespace trireme {

/// Takes the tokens of a text, as the vocabulary spells them, and gives others; those of the last step, one
/// after the other, are the text. Safe from several threads.
using DecodeStep = std::function<void(std::vector<std::string>&)>;

/// Tokens spelled in the byte alphabet to their bytes; a token with another character stands for itself.
DecodeStep make_byte_level_decoder();
std::string bytes_of_token(std::string_view token);
DecodeStep make_metaspace_decoder(const MetaspaceOptions& options);
/// <0x41> to the byte 0x41; bytes in succession that are no UTF-8 to a U+FFFD each.
DecodeStep make_byte_fallback_decoder();
DecodeStep make_fuse_decoder();
DecodeStep make_strip_decoder(char32_t content, size_t start, size_t stop);
DecodeStep make_replace_decoder(std::string wanted, std::string content);
DecodeStep make_replace_decoder(Pattern wanted, std::string content);
DecodeStep make_wordpiece_decoder(std::string prefix, bool cleanup);
DecodeStep make_bpe_decoder(std::string suffix);

/// The byte of a token such as <0x0A>.
std::optional<uint8_t> fallback_byte(std::string_view token);
std::string fallback_token(uint8_t byte);

}  // namespace trireme
