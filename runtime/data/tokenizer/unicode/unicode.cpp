#include "runtime/data/tokenizer/unicode/unicode.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

#include <utf8proc.h>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/unicode/classes_of_unicode8.h"
#include "runtime/io/json/utf8.h"

namespace trireme::unicode {
namespace {

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }
bool is_between(utf8proc_category_t c, utf8proc_category_t first, utf8proc_category_t last) {
  return c >= first && c <= last;
}

int options_of(Form form) {
  const int direction = form == Form::nfc || form == Form::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  const int compatibility = form == Form::nfkc || form == Form::nfkd ? UTF8PROC_COMPAT : 0;
  return UTF8PROC_STABLE | direction | compatibility;
}

// Below U+0300 nothing combines with what is before it, below U+00A0 nothing decomposes, whatever the form.
bool is_normal(std::string_view text, Form form) {
  const uint8_t limit = form == Form::nfc ? 0xCC : 0x80;  // U+0300 begins with the byte 0xCC
  return std::ranges::all_of(text, [limit](char c) { return static_cast<uint8_t>(c) < limit; });
}

// `ranges` are in order.
bool is_within(char32_t c, std::span<const CharacterRange> ranges) {
  const auto it = std::ranges::lower_bound(ranges, c, {}, &CharacterRange::last);
  return it != ranges.end() && it->first <= c;
}

}  // namespace

std::string normalize(std::string_view text, Form form) {
  if (is_normal(text, form)) return std::string(text);
  utf8proc_uint8_t* mapped = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                 static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                 static_cast<utf8proc_option_t>(options_of(form)));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (size == UTF8PROC_ERROR_NOMEM) throw std::bad_alloc();
  TRIREME_CHECK(size >= 0, "utf8proc: {}", utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(mapped), static_cast<size_t>(size)};
}

bool is_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_number(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  return is_between(category(c), UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO);
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
  }
  return is_within(c, kPunctuation8);
}

bool is_mark(char32_t c) {
  return c >= 0x300 && is_between(category(c), UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME);
}
bool is_nonspacing_mark(char32_t c) { return c >= 0x300 && is_within(c, kNonspacingMarks8); }

bool is_other(char32_t c) {
  if (c < 0x80) return c < 0x20 || c == 0x7F;
  return is_between(category(c), UTF8PROC_CATEGORY_CC, UTF8PROC_CATEGORY_CO);
}

// Letters that are symbols by category but Alphabetic: circled, squared and negative ones.
bool is_word(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || ((c | 0x20u) >= 'a' && (c | 0x20u) <= 'z') || c == '_';
  if (c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9)) return true;
  if ((c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189))
    return true;
  const auto kind = category(c);
  return is_between(kind, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LO) ||
         is_between(kind, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME) || kind == UTF8PROC_CATEGORY_ND ||
         kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_PC;
}

void append_lower(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c | 0x20u : c);
  } else if (c == 0x130) {  // the one letter whose lower case is two characters
    append_utf8(out, 'i');
    append_utf8(out, 0x307);
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

size_t next_grapheme(std::string_view text, size_t at) {
  utf8proc_int32_t state = 0;
  auto before = static_cast<utf8proc_int32_t>(next_code_point(text, at));
  while (at < text.size()) {
    size_t next = at;
    const auto c = static_cast<utf8proc_int32_t>(next_code_point(text, next));
    if (utf8proc_grapheme_break_stateful(before, c, &state)) break;
    before = c;
    at = next;
  }
  return at;
}

}  // namespace trireme::unicode
