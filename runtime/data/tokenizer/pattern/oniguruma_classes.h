// The names of sets of characters that Oniguruma has, and what PCRE2 calls the same sets.
#pragma once

#include <string>
#include <string_view>

namespace trireme {

/// The inside of a PCRE2 class for \p{name}, e.g. R"(\p{Lu})" or R"(\p{sc:Han})"; empty for a name that is
/// not known to mean the same. Case, blanks, - and _ do not count.
std::string property_set(std::string_view name);

/// As property_set, for [:name:].
std::string posix_set(std::string_view name);

inline constexpr std::string_view kWordSet = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
/// Outside of classes \w, \b and \p{word} come from another table, in which some fractions and powers of
/// Latin-1 are words, too.
inline constexpr std::string_view kBareWordSet =
    R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";
inline constexpr std::string_view kSpaceSet = R"(\p{White_Space})";
inline constexpr std::string_view kHexSet = "0-9A-Fa-f";
inline constexpr std::string_view kDigitSet = R"(\p{Nd})";

}  // namespace trireme
