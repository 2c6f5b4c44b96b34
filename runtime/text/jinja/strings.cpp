#include "runtime/text/jinja/strings.h"

#include <algorithm>
#include <clocale>
#include <cwctype>
#include <memory>

#include <locale.h>
#include <wctype.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "runtime/io/json/utf8.h"
#include "runtime/text/jinja/budget.h"

namespace trireme::jinja {

namespace {

/// Unicode's letters by the C library, whatever the locale of the program.
locale_t unicode_locale() {
  static const locale_t kLocale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  if (kLocale == nullptr)
    fail("upper and lower case outside ASCII need the locale C.UTF-8, which the system lacks");
  return kLocale;
}

/// Letters with no single letter of the other case in Unicode's SpecialCasing.txt, as ranges.
bool has_special_upper(char32_t c) {
  constexpr std::pair<char32_t, char32_t> kRanges[] = {
      {0xdf, 0xdf},     {0x149, 0x149},   {0x1f0, 0x1f0},   {0x390, 0x390},   {0x3b0, 0x3b0},
      {0x587, 0x587},   {0x1e96, 0x1e9a}, {0x1f50, 0x1f50}, {0x1f52, 0x1f52}, {0x1f54, 0x1f54},
      {0x1f56, 0x1f56}, {0x1f80, 0x1faf}, {0x1fb2, 0x1fb4}, {0x1fb6, 0x1fb7}, {0x1fbc, 0x1fbc},
      {0x1fc2, 0x1fc4}, {0x1fc6, 0x1fc7}, {0x1fcc, 0x1fcc}, {0x1fd2, 0x1fd3}, {0x1fd6, 0x1fd7},
      {0x1fe2, 0x1fe4}, {0x1fe6, 0x1fe7}, {0x1ff2, 0x1ff4}, {0x1ff6, 0x1ff7}, {0x1ffc, 0x1ffc},
      {0xfb00, 0xfb06}, {0xfb13, 0xfb17}};
  return std::ranges::any_of(kRanges, [c](const auto& r) { return r.first <= c && c <= r.second; });
}

enum class Case { upper, lower, title };

char32_t cased(char32_t c, Case to) {
  if (c < 0x80) {
    if (to == Case::lower) return c >= U'A' && c <= U'Z' ? c + 32 : c;
    return c >= U'a' && c <= U'z' ? c - 32 : c;
  }
  // The digraphs have a title case of their own; sigma's small letter depends on its place.
  const bool is_special = to == Case::lower
                              ? c == 0x130 || c == 0x3a3
                              : has_special_upper(c) || (to == Case::title && c >= 0x1c4 && c <= 0x1f3);
  if (is_special)
    fail("the case of U+{:04X} is not one letter: that is not supported", static_cast<uint32_t>(c));
  const auto wide = static_cast<wint_t>(c);
  return static_cast<char32_t>(to == Case::lower ? ::towlower_l(wide, unicode_locale())
                                                 : ::towupper_l(wide, unicode_locale()));
}

bool is_letter(char32_t c) {
  if (c < 0x80) return (c >= U'A' && c <= U'Z') || (c >= U'a' && c <= U'z');
  const auto wide = static_cast<wint_t>(c);
  return ::towupper_l(wide, unicode_locale()) != wide || ::towlower_l(wide, unicode_locale()) != wide;
}

/// Maps each code point; `choose` gives the case for it.
template <class Choose>
std::string mapped(std::string_view text, Choose&& choose) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    append_utf8(out, cased(c, choose(c)));
  }
  return out;
}

/// The code point that ends before `end`.
char32_t code_point_before(std::string_view text, size_t& end) {
  do --end;
  while (end > 0 && is_utf8_continuation(text[end]));
  size_t at = end;
  return next_code_point(text, at);
}

bool is_among(char32_t c, std::string_view characters) {
  for (size_t at = 0; at < characters.size();) {
    if (next_code_point(characters, at) == c) return true;
  }
  return false;
}

/// Splits at runs of white space.
std::vector<std::string> split_at_space(std::string_view text, int64_t most, bool from_right) {
  std::vector<std::string> parts;
  text = strip(text, std::nullopt, true, true);
  while (!text.empty()) {
    if (most >= 0 && std::ssize(parts) == most) {
      parts.emplace_back(text);
      break;
    }
    size_t at = from_right ? text.size() : 0;
    const auto is_part = [&](size_t& next) {
      next = at;
      return !is_space(from_right ? code_point_before(text, next) : next_code_point(text, next));
    };
    for (size_t next = 0; (from_right ? at > 0 : at < text.size()) && is_part(next);) at = next;
    parts.emplace_back(from_right ? text.substr(at) : text.substr(0, at));
    text = from_right ? strip(text.substr(0, at), std::nullopt, false, true)
                      : strip(text.substr(at), std::nullopt, true, false);
  }
  if (from_right) std::ranges::reverse(parts);
  return parts;
}

}  // namespace

bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

bool is_printable(char32_t c) {
  if (c < 0x7f) return c >= 0x20;
  int error = 0;
  PCRE2_SIZE offset = 0;
  struct Free {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  };
  static const std::unique_ptr<pcre2_code, Free> kOther(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>("[\\p{C}\\p{Z}]"), PCRE2_ZERO_TERMINATED, PCRE2_UTF, &error,
                    &offset, nullptr));
  std::string text;
  append_utf8(text, c);
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  return pcre2_match(kOther.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, match.get(),
                     nullptr) < 0;
}

int64_t length_of(std::string_view text) {
  return std::ranges::count_if(text, [](char c) { return !is_utf8_continuation(c); });
}

size_t byte_of(std::string_view text, int64_t index) {
  size_t at = 0;
  for (; at < text.size(); ++at) {
    if (!is_utf8_continuation(text[at]) && index-- == 0) break;
  }
  return at;
}

std::string_view strip(std::string_view text, std::optional<std::string_view> characters, bool left,
                       bool right) {
  const auto goes = [&](char32_t c) { return characters ? is_among(c, *characters) : is_space(c); };
  while (left && !text.empty()) {
    size_t next = 0;
    if (!goes(next_code_point(text, next))) break;
    text.remove_prefix(next);
  }
  while (right && !text.empty()) {
    size_t end = text.size();
    if (!goes(code_point_before(text, end))) break;
    text = text.substr(0, end);
  }
  return text;
}

std::vector<std::string> split(std::string_view text, std::optional<std::string_view> separator, int64_t most,
                               bool from_right) {
  if (!separator) return split_at_space(text, most, from_right);
  if (separator->empty()) fail("split: the separator is empty");
  std::vector<std::string> parts;
  while (most < 0 || std::ssize(parts) < most) {
    const size_t at = from_right ? text.rfind(*separator) : text.find(*separator);
    if (at == std::string_view::npos) break;
    parts.emplace_back(from_right ? text.substr(at + separator->size()) : text.substr(0, at));
    text = from_right ? text.substr(0, at) : text.substr(at + separator->size());
  }
  parts.emplace_back(text);
  if (from_right) std::ranges::reverse(parts);
  return parts;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  const auto ends_line = [](char32_t c) {
    return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
  };
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = at;
    const char32_t c = next_code_point(text, at);
    if (!ends_line(c)) continue;
    if (c == U'\r' && at < text.size() && text[at] == '\n') ++at;
    lines.emplace_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t most) {
  std::string out;
  size_t at = 0;
  for (int64_t done = 0; most < 0 || done < most; ++done) {
    if (from.empty()) {
      // Python puts it before every character and at the end.
      out += to;
      if (at >= text.size()) return out;
      size_t next = at;
      next_code_point(text, next);
      out += text.substr(at, next - at);
      at = next;
    } else {
      const size_t found = text.find(from, at);
      if (found == std::string_view::npos) break;
      out.append(text.substr(at, found - at)).append(to);
      at = found + from.size();
    }
  }
  return out.append(text.substr(at));
}

std::string upper(std::string_view text) {
  return mapped(text, [](char32_t) { return Case::upper; });
}
std::string lower(std::string_view text) {
  return mapped(text, [](char32_t) { return Case::lower; });
}

std::string capitalize(std::string_view text) {
  bool is_first = true;
  return mapped(text, [&](char32_t) { return std::exchange(is_first, false) ? Case::title : Case::lower; });
}

std::string title(std::string_view text) {
  bool after_letter = false;
  return mapped(text, [&](char32_t c) {
    return std::exchange(after_letter, is_letter(c)) ? Case::lower : Case::title;
  });
}

std::string title_of_words(std::string_view text) {
  bool is_first = true;
  return mapped(text, [&](char32_t c) {
    const bool separates = is_space(c) || c == U'-' || c == U'(' || c == U'{' || c == U'[' || c == U'<';
    return std::exchange(is_first, separates) ? Case::upper : Case::lower;
  });
}

int64_t place_of(std::string_view text, std::string_view part, bool from_right) {
  const size_t at = from_right ? text.rfind(part) : text.find(part);
  return at == std::string_view::npos ? -1 : length_of(text.substr(0, at));
}

int64_t times_in(std::string_view text, std::string_view part) {
  if (part.empty()) return length_of(text) + 1;
  int64_t times = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size()))
    ++times;
  return times;
}

}  // namespace trireme::jinja
