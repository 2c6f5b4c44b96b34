// Numbers and strings as they are written in templates.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace trireme::jinja {

struct NumberToken {
  std::string text;  ///< without underscores; decimal, or with a prefix 0x, 0o, 0b
  bool is_real = false;
  size_t end = 0;               ///< in the source
  const char* error = nullptr;  ///< why it is none
};

/// The number that begins at `at`, a digit. After a dot (`x.0.1`) it is whole.
NumberToken scan_number(std::string_view source, size_t at);

/// Of an integer's text; false when it is beyond 63 bits.
bool parse_integer(std::string_view text, long long& value);

struct UnescapedString {
  std::string text;
  const char* error = nullptr;
};

/// What a string literal means: Python's escapes.
UnescapedString unescape(std::string_view literal);

}  // namespace trireme::jinja
