// Reads a pattern in Oniguruma's syntax: the place in it, escapes and classes. OnigurumaPattern's translator
// resumes from here to groups and repeats.
#pragma once

#include <cctype>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace trireme {

/// One character as PCRE2 takes it literally, inside and outside of classes.
std::string pcre2_literal(char32_t c);

/// Of any character, line breaks included.
inline constexpr std::string_view kAnyCharacter = "(?s:.)";

class OnigurumaReader {
 protected:
  static constexpr int kMaxDepth = 100;
  static constexpr int kMostRepeats = 65535;  ///< of PCRE2

  /// An escape or a property: one character, or the inside of a class.
  struct Escaped {
    std::optional<char32_t> character;
    std::string set;
    bool is_negated = false;
  };

  explicit OnigurumaReader(std::string_view pattern) : in_(pattern) {}

  static bool is_ascii(char32_t c) { return c < 0x80; }
  static bool is_letter(char32_t c) { return is_ascii(c) && std::isalpha(static_cast<int>(c)) != 0; }
  static bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }

  /// UserError(bad_input) naming `construct` and its place.
  [[noreturn]] void refuse(size_t offset, std::string_view construct) const;
  bool has(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  bool skip(std::string_view text);
  char32_t next();
  std::optional<int> number(size_t begin);

  /// What means the same inside and outside of a class; `begin` is the place of the backslash, which is read.
  Escaped escaped(size_t begin);
  /// The rest of a class whose [, at `begin`, is read: an expression of PCRE2 that matches one character.
  std::string character_class(size_t begin, bool ignore_case);

  std::string_view in_;
  size_t at_ = 0;
  int depth_ = 0;  ///< of groups and classes

 private:
  /// What stands between two && of a class.
  struct Part {
    std::string set;  ///< the inside of a PCRE2 class
    std::vector<std::string> nested;
  };

  static std::string one_of(const Part& part);
  static void add_set(Part& part, const Escaped& set);
  void class_item(Part& part, bool is_first, bool ignore_case);
  void posix(Part& part, size_t begin);
  Escaped class_character();
  Escaped property(size_t begin, bool is_negated);
  char32_t code_point(size_t begin, bool is_u);
};

}  // namespace trireme
