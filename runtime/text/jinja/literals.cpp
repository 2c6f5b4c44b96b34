#include "runtime/text/jinja/literals.h"

#include <charconv>
#include <cstdint>

#include "runtime/io/json/utf8.h"

namespace trireme::jinja {

namespace {

bool is_digit_of(char c, int base) {
  if (c >= '0' && c <= '9') return c - '0' < base;
  const char lower = static_cast<char>(c | 0x20);
  return base == 16 && lower >= 'a' && lower <= 'f';
}

/// Digits with single underscores between them, appended to `out`; the end.
size_t scan_digits(std::string_view source, size_t at, int base, std::string& out) {
  while (at < source.size()) {
    if (is_digit_of(source[at], base)) {
      out += source[at++];
    } else if (source[at] == '_' && !out.empty() && at + 1 < source.size() &&
               is_digit_of(source[at + 1], base)) {
      ++at;
    } else {
      break;
    }
  }
  return at;
}

/// The exponent at `at`, or nothing; the end.
size_t scan_exponent(std::string_view source, size_t at, std::string& out) {
  if (at >= source.size() || (source[at] | 0x20) != 'e') return at;
  size_t digits = at + 1;
  std::string text = "e";
  if (digits < source.size() && (source[digits] == '+' || source[digits] == '-')) text += source[digits++];
  if (digits >= source.size() || !is_digit_of(source[digits], 10)) return at;
  digits = scan_digits(source, digits, 10, text);
  out += text;
  return digits;
}

/// Up to `most` digits of `base` as a number; the end.
size_t scan_escape(std::string_view text, size_t at, size_t most, int base, uint32_t& value) {
  size_t end = at;
  value = 0;
  while (end < text.size() && end < at + most && is_digit_of(text[end], base)) {
    const char c = text[end++];
    value = value * static_cast<uint32_t>(base) +
            static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  return end;
}

}  // namespace

NumberToken scan_number(std::string_view source, size_t at) {
  NumberToken number;
  const char second = at + 1 < source.size() ? static_cast<char>(source[at + 1] | 0x20) : ' ';
  const int base = source[at] != '0' ? 10 : second == 'x' ? 16 : second == 'o' ? 8 : second == 'b' ? 2 : 10;
  if (base != 10) {
    std::string digits;
    number.end = scan_digits(source, at + 2, base, digits);
    if (digits.empty()) number.error = "a number without digits";
    number.text = std::string("0") + second + digits;
    return number;
  }
  const bool after_dot = at > 0 && source[at - 1] == '.';
  number.end = scan_digits(source, at, 10, number.text);
  if (!after_dot && number.end + 1 < source.size() && source[number.end] == '.' &&
      is_digit_of(source[number.end + 1], 10)) {
    number.text += '.';
    number.end = scan_digits(source, number.end + 1, 10, number.text);
    number.is_real = true;
  }
  if (!after_dot) {
    const size_t end = scan_exponent(source, number.end, number.text);
    number.is_real = number.is_real || end > number.end;
    number.end = end;
  }
  if (!number.is_real && number.text.size() > 1 && number.text[0] == '0' &&
      number.text.find_first_not_of('0') != std::string::npos) {
    number.error = "a whole number begins with 0";
  }
  return number;
}

bool parse_integer(std::string_view text, long long& value) {
  int base = 10;
  if (text.size() > 2 && text[0] == '0' && !is_digit_of(text[1], 10)) {
    base = text[1] == 'x' ? 16 : text[1] == 'o' ? 8 : 2;
    text.remove_prefix(2);
  }
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

UnescapedString unescape(std::string_view literal) {
  constexpr std::string_view kLetters = "\\'\"abfnrtv", kMeanings = "\\'\"\a\b\f\n\r\t\v";
  UnescapedString out;
  for (size_t at = 0; at < literal.size();) {
    if (literal[at] != '\\' || at + 1 >= literal.size()) {
      out.text += literal[at++];
      continue;
    }
    const char c = literal[at + 1];
    uint32_t number = 0;
    const size_t most = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (const size_t known = kLetters.find(c); known != std::string_view::npos) {
      out.text += kMeanings[known];
      at += 2;
    } else if (c == '\n') {
      at += 2;
    } else if (most > 0) {
      const size_t end = scan_escape(literal, at + 2, most, 16, number);
      if (end != at + 2 + most) out.error = "an escape of a string has too few digits";
      if (number > 0x10ffff || (number >= 0xd800 && number < 0xe000))
        out.error = "an escape of a string is no character";
      if (out.error != nullptr) return out;
      append_utf8(out.text, number);
      at = end;
    } else if (c >= '0' && c <= '7') {
      at = scan_escape(literal, at + 1, 3, 8, number);
      append_utf8(out.text, number);
    } else if (c == 'N') {
      out.error = "an escape \\N{...} of a string is not supported; use \\u";
      return out;
    } else {
      out.text += '\\';
      ++at;  // as Python keeps unknown escapes
    }
  }
  return out;
}

}  // namespace trireme::jinja
