#include "launch/serve/http/request_target.h"

#include <algorithm>
#include <cstdint>

namespace trireme::launch {

namespace {

int percent_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool decode_percents(std::string_view text, std::string& decoded) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return false;
    const int high = percent_digit(text[i + 1]), low = percent_digit(text[i + 2]);
    if (high < 0 || low < 0) return false;
    decoded += static_cast<char>(16 * high + low);
    i += 2;
  }
  return true;
}

/// Bytes of the character that begins there; 0: none, or one that a log or a JSON text must not hold.
size_t path_character_bytes(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const uint32_t first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return 0;
  uint32_t code = first & (0xffU >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3fU);
  }
  constexpr uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool is_surrogate = code >= 0xd800 && code < 0xe000;
  return code >= smallest[length] && code <= 0x10ffff && !is_surrogate ? length : 0;
}

bool is_clean_path(std::string_view text) {
  while (!text.empty()) {
    const size_t bytes = path_character_bytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

}  // namespace

std::optional<RequestTarget> parse_target(std::string_view target) {
  if (target == "*") return RequestTarget{"*", {}};
  if (!target.starts_with('/')) {
    const size_t scheme = target.find("://");
    if (scheme == std::string_view::npos || scheme == 0) return {};
    target.remove_prefix(std::min(target.find_first_of("/?", scheme + 3), target.size()));
  }
  RequestTarget parsed;
  const size_t question = std::min(target.find('?'), target.size());
  const std::string_view path = target.substr(0, question);
  if (!decode_percents(path.empty() ? "/" : path, parsed.path) || !is_clean_path(parsed.path)) return {};
  if (question < target.size()) parsed.query = target.substr(question + 1);
  return parsed;
}

}  // namespace trireme::launch
