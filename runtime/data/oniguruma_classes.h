// The names of sets of characters that Oniguruma has, and what PCRE2 calls the same sets.
#pragma once

#include <string>
#include <string_view>

namespace trireme {

/// The inside of a PCRE2 class for \p{name}, e.g. R"(\p{Lu})" or R"(\p{sc:Han})"; empty for a name that is not known
/// to mean the same. Case, blanks, - and _ do not count.
std::string property_set(std::string_view name);

/// As property_set, for [:name:].
std::string posix_set(std::string_view name);

inline constexpr std::string_view kWordSet = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
inline constexpr std::string_view kSpaceSet = R"(\p{White_Space})";
inline constexpr std::string_view kHexSet = "0-9A-Fa-f";
inline constexpr std::string_view kDigitSet = R"(\p{Nd})";

}  // namespace trireme
