#include "launch/report/visible_text.h"

#include <algorithm>

#include <fmt/format.h>

#include "runtime/io/json/utf8.h"

namespace trireme::launch {

namespace {

/// Of well-formed text.
void append_visible(std::string& out, std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t code = next_code_point(text, at);
    const bool is_control = code < 0x20 || (code >= 0x7F && code < 0xA0);
    if (!is_control || code == '\n' || code == '\t') {
      out += text.substr(begin, at - begin);
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(code));
    }
  }
}

/// `at`, or the beginning of the character that it is inside of.
size_t boundary(std::string_view text, size_t at) {
  while (at > 0 && at < text.size() && is_utf8_continuation(text[at])) --at;
  return at;
}

}  // namespace

std::string visible(std::string_view text) {
  std::string out;
  while (const auto fault = find_utf8_error(text)) {
    append_visible(out, text.substr(0, fault->offset));
    out += fmt::format("\\x{:02x}", fault->byte);
    text.remove_prefix(fault->offset + 1);
  }
  append_visible(out, text);
  return out;
}

std::string visible_message(std::string_view text, size_t most) {
  std::string out;
  while (true) {
    const size_t length = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, length);
    if (length <= most) {
      out += visible(line);
    } else {
      const size_t head = boundary(line, most / 2), tail = boundary(line, length - most / 4);
      out += fmt::format("{} [... {} bytes ...] {}", visible(line.substr(0, head)), tail - head,
                         visible(line.substr(tail)));
    }
    if (length == text.size()) return out;
    out += '\n';
    text.remove_prefix(length + 1);
  }
}

}  // namespace trireme::launch
