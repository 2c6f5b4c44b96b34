// UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trireme {

/// Where a text came from, for messages: `file` (with a line for JSONL) and the offset of its first byte
/// there.
struct TextOrigin {
  std::string file = "text";
  uint64_t offset = 0;
};

struct Utf8Error {
  size_t offset;  ///< of the first byte of the first ill-formed sequence
  uint8_t byte;   ///< the value of that byte
};

std::optional<Utf8Error> find_utf8_error(std::string_view text);

/// UserError(bad_input) naming file, offset and byte when `text` is not UTF-8.
void check_utf8(std::string_view text, const TextOrigin& origin);

/// The code point at `position` of valid UTF-8; moves `position` past it.
char32_t next_code_point(std::string_view text, size_t& position);

void append_utf8(std::string& out, char32_t code_point);

/// True for a byte that continues a code point begun earlier.
constexpr bool is_utf8_continuation(char c) { return (static_cast<uint8_t>(c) & 0xC0u) == 0x80u; }

}  // namespace trireme
