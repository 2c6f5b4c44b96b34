// Properties of characters and normal forms, from utf8proc. Debian 12's follows Unicode 15; a normal form of
// what an earlier version has assigned never changes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace trireme::unicode {

enum class Form { nfc, nfd, nfkc, nfkd };

/// `text` must be valid UTF-8.
std::string normalize(std::string_view text, Form form);

bool is_space(char32_t c);        ///< White_Space
bool is_number(char32_t c);       ///< Nd, Nl, No
bool is_punctuation(char32_t c);  ///< of Unicode 8: P*, or one of ASCII's 32 that are no letters and digits
bool is_mark(char32_t c);         ///< Mn, Mc, Me
bool is_nonspacing_mark(char32_t c);  ///< of Unicode 8: Mn
bool is_other(char32_t c);            ///< Cc, Cf, Cs, Co
bool is_word(char32_t c);             ///< \w of UTS 18: Alphabetic, M, Nd, Pc, Join_Control

/// The lower case of one character by itself (no final sigma).
void append_lower(std::string& out, char32_t c);

/// Where the extended grapheme cluster that begins at `at` ends.
size_t next_grapheme(std::string_view text, size_t at);

}  // namespace trireme::unicode
