// Whether JSON lies within the bounds of JsonBounds, and walks through grammars.
#pragma once

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/text/grammar/byte_grammar.h"
#include "runtime/text/grammar/json_rules.h"

namespace trireme::test {

/// Up to two spaces; or one or two line ends and then up to 64 spaces and tabs.
inline bool is_bounded_space(std::string_view space) {
  size_t at = 0, lines = 0;
  while (at < space.size() && (space[at] == '\n' || space.substr(at).starts_with("\r\n"))) {
    at += space[at] == '\n' ? 1 : 2;
    ++lines;
  }
  const std::string_view rest = space.substr(at);
  if (lines == 0) return rest.size() <= 2 && rest.find_first_not_of(' ') == rest.npos;
  return lines <= 2 && rest.size() <= 64 && rest.find_first_not_of(" \t") == rest.npos;
}

inline bool is_bounded_number(std::string_view number) {
  const auto run = [&](size_t from) {
    size_t end = from;
    while (end < number.size() && number[end] >= '0' && number[end] <= '9') ++end;
    return end - from;
  };
  size_t at = number.starts_with('-') ? 1 : 0;
  size_t digits = run(at);
  if (digits > 20) return false;
  at += digits;
  if (at < number.size() && number[at] == '.') {
    digits = run(at + 1);
    if (digits > 20) return false;
    at += 1 + digits;
  }
  if (at == number.size()) return true;
  ++at;  // e
  if (number[at] == '+' || number[at] == '-') ++at;
  return run(at) <= 2;
}

/// `text` is JSON: what the grammar of objects leaves out of RFC 8259 is not in it.
inline bool is_bounded_json(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  int depth = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t space_end = std::min(text.find_first_not_of(kSpace, at), text.size());
    if (!is_bounded_space(text.substr(at, space_end - at))) return false;
    if (space_end == text.size()) return space_end == at;  // none at the end
    at = space_end;
    const char c = text[at];
    if (c == '"') {
      for (++at; text[at] != '"'; ++at) at += text[at] == '\\' ? 1 : 0;
      ++at;
    } else if (c == '{' || c == '[') {
      if (++depth > static_cast<int>(JsonBounds::kNesting)) return false;
      ++at;
    } else if (c == '}' || c == ']') {
      --depth;
      ++at;
    } else if (c == '-' || (c >= '0' && c <= '9')) {
      const size_t end = std::min(text.find_first_not_of("+-.0123456789eE", at), text.size());
      if (!is_bounded_number(text.substr(at, end - at))) return false;
      at = end;
    } else {
      ++at;
    }
  }
  return true;
}

inline bool accepts(const std::shared_ptr<const ByteGrammar>& grammar, std::string_view text) {
  ByteMatcher matcher(grammar);
  return matcher.accept(text) && matcher.is_complete();
}

inline std::string allowed_bytes(const ByteMatcher& matcher) {
  std::string allowed;
  for (int b = 0; b < 256; ++b) {
    ByteMatcher copy = matcher;
    if (const char c = static_cast<char>(b); copy.accept({&c, 1})) allowed += c;
  }
  return allowed;
}

/// Bytes drawn of those that are allowed until the text is complete, with some haste; nullopt: a place that
/// nothing can follow before the end (a defect), or more than `most_bytes`.
template <class Random>
std::optional<std::string> draw_text(ByteMatcher matcher, Random& random, size_t most_bytes) {
  const auto draw = [&](size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random); };
  std::string text;
  while (!matcher.is_at_end() && !(matcher.is_complete() && draw(2) == 0)) {
    const std::string allowed = allowed_bytes(matcher);
    if (allowed.empty() || text.size() > most_bytes) return std::nullopt;
    char byte = allowed[draw(allowed.size())];
    // Most of what is drawn at random would be white space and characters beyond ASCII, without an end.
    for (const char closing : {'"', '}', ']', '0', 'a', 'b', 'c', '\\', ':'}) {
      const bool hurries =
          text.size() > most_bytes / 4 && closing != '0' && closing != 'a' && closing != '\\';
      if (allowed.find(closing) != allowed.npos && draw(hurries ? 2 : 6) == 0) {
        byte = closing;
        break;
      }
    }
    matcher.accept({&byte, 1});
    text += byte;
  }
  return text;
}

}  // namespace trireme::test
