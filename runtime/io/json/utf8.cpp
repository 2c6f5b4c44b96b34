#include "runtime/io/json/utf8.h"

#include <cstring>

#include "runtime/base/error.h"

namespace trireme {
namespace {

// Bytes of the well-formed sequence at `p`, 0 if there is none (Unicode standard, table 3-7).
size_t sequence_length(const uint8_t* p, size_t available) {
  const uint8_t lead = p[0];
  if (lead < 0x80) return 1;
  const size_t length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0 || length > available) return 0;
  const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (p[1] < low || p[1] > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((p[i] & 0xC0u) != 0x80u) return 0;
  }
  return length;
}

}  // namespace

std::optional<Utf8Error> find_utf8_error(std::string_view text) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  size_t i = 0;
  while (i < text.size()) {
    uint64_t word;
    if (i + sizeof word <= text.size()) {  // most text is ASCII: eight bytes at a time
      std::memcpy(&word, bytes + i, sizeof word);
      if ((word & 0x8080808080808080ull) == 0) {
        i += sizeof word;
        continue;
      }
    }
    const size_t length = sequence_length(bytes + i, text.size() - i);
    if (length == 0) return Utf8Error{i, bytes[i]};
    i += length;
  }
  return std::nullopt;
}

void check_utf8(std::string_view text, const TextOrigin& origin) {
  if (const auto fault = find_utf8_error(text)) {
    throw_bad_input("{} is not UTF-8: byte 0x{:02X} at offset {}; convert it, or use the byte tokenizer",
                    origin.file, fault->byte, origin.offset + fault->offset);
  }
}

char32_t next_code_point(std::string_view text, size_t& position) {
  const auto byte = [&] { return static_cast<uint8_t>(text[position++]); };
  const char32_t lead = byte();
  if (lead < 0x80) return lead;
  const int more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  char32_t code_point = lead & (0x3Fu >> more);
  for (int i = 0; i < more; ++i) code_point = (code_point << 6) | (byte() & 0x3Fu);
  return code_point;
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0 | (c >> 6));
  } else {
    if (c < 0x10000) {
      put(0xE0 | (c >> 12));
    } else {
      put(0xF0 | (c >> 18));
      put(0x80 | ((c >> 12) & 0x3F));
    }
    put(0x80 | ((c >> 6) & 0x3F));
  }
  put(0x80 | (c & 0x3F));
}

}  // namespace trireme
