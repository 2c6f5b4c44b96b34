// Base64 (RFC 4648, with padding), as files of tokenizers hold bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace trireme {

std::string encode_base64(std::string_view bytes);
/// nullopt when `text` is none.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace trireme
