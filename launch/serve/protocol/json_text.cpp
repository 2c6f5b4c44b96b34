#include "launch/serve/protocol/json_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "runtime/io/json/utf8.h"

namespace trireme::launch {
namespace {

constexpr bool needs_escape(char c) { return static_cast<uint8_t>(c) < 0x20 || c == '"' || c == '\\'; }

void append_escape(std::string& out, char c) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  switch (c) {
    case '"':
    case '\\':
      out += '\\';
      out += c;
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out += "\\u00";
      out += kDigits[static_cast<uint8_t>(c) >> 4];
      out += kDigits[static_cast<uint8_t>(c) & 15];
  }
}

void append_escaped(std::string& out, std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && !needs_escape(text[end])) ++end;
    out.append(text, i, end - i);
    if (end < text.size()) append_escape(out, text[end++]);
    i = end;
  }
}

template <class T>
void append_chars(std::string& out, T value) {
  std::array<char, 32> digits;
  out.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  while (const auto fault = find_utf8_error(text)) {
    append_escaped(out, text.substr(0, fault->offset));
    append_utf8(out, 0xFFFD);
    text.remove_prefix(fault->offset + 1);
  }
  append_escaped(out, text);
  out += '"';
}

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

void append_score(std::string& out, float log_probability) {
  constexpr float kLeast = -9999;
  const size_t begin = out.size();
  append_chars(out, std::isfinite(log_probability) ? log_probability : kLeast);
  if (out.find_first_of(".e", begin) == std::string::npos) out += ".0";
}

void append_number(std::string& out, int64_t value) { append_chars(out, value); }

void append_numbers(std::string& out, std::span<const int32_t> values) {
  out += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ',';
    append_chars(out, values[i]);
  }
  out += ']';
}

int64_t num_code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return !is_utf8_continuation(c); });
}

}  // namespace trireme::launch
