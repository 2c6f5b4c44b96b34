#include "runtime/data/tokenizer/pattern/oniguruma_reader.h"

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/pattern/oniguruma_classes.h"
#include "runtime/io/json/utf8.h"

namespace trireme {

std::string pcre2_literal(char32_t c) {
  const bool is_plain = c < 0x80 && std::isalnum(static_cast<int>(c)) != 0;
  return is_plain ? std::string{static_cast<char>(c)} : fmt::format("\\x{{{:X}}}", static_cast<uint32_t>(c));
}

void OnigurumaReader::refuse(size_t offset, std::string_view construct) const {
  constexpr size_t kMostQuoted = 200;
  throw_bad_input(
      "the pre-tokenization pattern '{}{}' has {} at offset {}, which is not supported: it means something "
      "else in the engine of published tokenizers, Oniguruma, than in this program's, PCRE2",
      in_.substr(0, kMostQuoted), in_.size() > kMostQuoted ? "..." : "", construct, offset);
}

bool OnigurumaReader::skip(std::string_view text) {
  if (!has(text)) return false;
  at_ += text.size();
  return true;
}
char32_t OnigurumaReader::next() { return next_code_point(in_, at_); }

std::optional<int> OnigurumaReader::number(size_t begin) {
  std::optional<int> value;
  for (; at_ < in_.size() && is_digit(static_cast<unsigned char>(in_[at_])); ++at_) {
    value = value.value_or(0) * 10 + (in_[at_] - '0');
    if (*value > kMostRepeats) refuse(begin, fmt::format("more than {} repeats", kMostRepeats));
  }
  return value;
}

// What means the same inside and outside of a class; `begin` is the place of the backslash, which is read.
OnigurumaReader::Escaped OnigurumaReader::escaped(size_t begin) {
  const char32_t c = next();
  switch (c) {
    case 't':
      return {U'\t', {}};
    case 'n':
      return {U'\n', {}};
    case 'r':
      return {U'\r', {}};
    case 'f':
      return {U'\f', {}};
    case 'v':
      return {U'\v', {}};
    case 'a':
      return {U'\a', {}};
    case 'e':
      return {U'\x1B', {}};
    case 'd':
    case 'D':
      return {{}, std::string(kDigitSet), c == 'D'};
    case 's':
    case 'S':
      return {{}, std::string(kSpaceSet), c == 'S'};
    case 'w':
    case 'W':
      return {{}, std::string(kWordSet), c == 'W'};
    case 'h':
    case 'H':
      return {{}, std::string(kHexSet), c == 'H'};
    case 'p':
    case 'P':
      return property(begin, c == 'P');
    case 'x':
    case 'u':
      return {code_point(begin, c == 'u'), {}};
    default:
      if (is_letter(c) || is_digit(c)) refuse(begin, fmt::format("the escape \\{}", static_cast<char>(c)));
      return {c, {}};
  }
}

OnigurumaReader::Escaped OnigurumaReader::property(size_t begin, bool is_negated) {
  std::string_view name;
  if (skip("{")) {
    const size_t end = in_.find('}', at_);
    if (end == std::string_view::npos) refuse(begin, "a property without }");
    if (skip("^")) is_negated = !is_negated;
    name = in_.substr(at_, end - at_);
    at_ = end + 1;
  } else {
    refuse(begin, "a property without {}");
  }
  std::string set = property_set(name);
  if (set.empty()) refuse(begin, fmt::format("the property {}", name.substr(0, 40)));
  return {{}, std::move(set), is_negated};
}

// \xHH below 0x80 (above it is a byte of UTF-8 there), \x{H...} and \uHHHH.
char32_t OnigurumaReader::code_point(size_t begin, bool is_u) {
  const bool has_braces = !is_u && skip("{");
  const size_t most = has_braces ? 8 : is_u ? 4 : 2;
  uint32_t value = 0;
  size_t digits = 0;
  for (; digits < most && at_ < in_.size() && std::isxdigit(static_cast<unsigned char>(in_[at_])) != 0;
       ++digits) {
    const char c = in_[at_++];
    value = value * 16 +
            static_cast<uint32_t>(is_digit(static_cast<unsigned char>(c)) ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  const bool is_whole = has_braces ? digits > 0 && skip("}") : digits == most;
  const bool is_surrogate = value >= 0xD800 && value < 0xE000;
  if (!is_whole || value > 0x10FFFF || is_surrogate || (!has_braces && !is_u && value >= 0x80)) {
    refuse(begin, fmt::format("the code {}", in_.substr(begin, at_ - begin)));
  }
  return value;
}

}  // namespace trireme
