#include "runtime/data/tokenizer/pattern/oniguruma_classes.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

namespace trireme {
namespace {

struct Name {
  std::string_view name, set;
};

// General categories by their long names; the short ones are their own.
constexpr Name kCategories[] = {
    {"other", "C"},
    {"control", "Cc"},
    {"format", "Cf"},
    {"privateuse", "Co"},
    {"surrogate", "Cs"},
    {"letter", "L"},
    {"lowercaseletter", "Ll"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"titlecaseletter", "Lt"},
    {"uppercaseletter", "Lu"},
    {"mark", "M"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"nonspacingmark", "Mn"},
    {"combiningmark", "M"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"closepunctuation", "Pe"},
    {"finalpunctuation", "Pf"},
    {"initialpunctuation", "Pi"},
    {"otherpunctuation", "Po"},
    {"openpunctuation", "Ps"},
    {"symbol", "S"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"mathsymbol", "Sm"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"spaceseparator", "Zs"},
};
constexpr std::string_view kShortCategories[] = {"C",  "Cc", "Cf", "Co", "Cs", "L",  "Ll", "Lm", "Lo",
                                                 "Lt", "Lu", "M",  "Mc", "Me", "Mn", "N",  "Nd", "Nl",
                                                 "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps",
                                                 "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs"};

constexpr std::string_view kScripts[] = {
    "Arabic",   "Armenian",   "Bengali",   "Bopomofo",  "Braille", "Cherokee", "Common",   "Coptic",
    "Cyrillic", "Devanagari", "Ethiopic",  "Georgian",  "Greek",   "Gujarati", "Gurmukhi", "Han",
    "Hangul",   "Hebrew",     "Hiragana",  "Inherited", "Kannada", "Katakana", "Khmer",    "Lao",
    "Latin",    "Malayalam",  "Mongolian", "Myanmar",   "Oriya",   "Sinhala",  "Syriac",   "Tamil",
    "Telugu",   "Thaana",     "Thai",      "Tibetan",   "Yi"};

// [:name:], which \p knows too.
constexpr Name kPosix[] = {
    {"alnum", R"(\p{Alphabetic}\p{Nd})"},
    {"alpha", R"(\p{Alphabetic})"},
    {"digit", kDigitSet},
    {"lower", R"(\p{Lowercase})"},
    {"space", kSpaceSet},
    {"upper", R"(\p{Uppercase})"},
    {"word", kWordSet},
    {"xdigit", kHexSet},
    {"cntrl", R"(\p{Cc})"},
    {"ascii", R"(\x{00}-\x{7F})"},
};
constexpr Name kProperties[] = {
    {"alphabetic", R"(\p{Alphabetic})"}, {"lowercase", R"(\p{Lowercase})"}, {"uppercase", R"(\p{Uppercase})"},
    {"whitespace", kSpaceSet},           {"any", R"(\x{00}-\x{10FFFF})"},
};

std::string plain(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c != ' ' && c != '-' && c != '_')
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

}  // namespace

std::string posix_set(std::string_view name) {
  for (const auto& [known, set] : kPosix) {
    if (known == name) return std::string(set);
  }
  return "";
}

std::string property_set(std::string_view name) {
  const std::string wanted = plain(name);
  for (const auto category : kShortCategories) {
    if (plain(category) == wanted) return fmt::format(R"(\p{{{}}})", category);
  }
  for (const auto& [known, set] : kCategories) {
    if (known == wanted) return fmt::format(R"(\p{{{}}})", set);
  }
  for (const auto script : kScripts) {
    if (plain(script) == wanted) return fmt::format(R"(\p{{sc:{}}})", script);
  }
  for (const auto& [known, set] : kProperties) {
    if (known == wanted) return std::string(set);
  }
  return posix_set(wanted);
}

}  // namespace trireme
