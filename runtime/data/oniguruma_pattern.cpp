#include "runtime/data/oniguruma_pattern.h"

#include <cctype>
#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/data/oniguruma_classes.h"
#include "runtime/io/utf8.h"

namespace trireme {
namespace {

constexpr std::string_view kAnyCharacter = "(?s:.)";
constexpr int kMostRepeats = 65535;  // of PCRE2
constexpr int kMaxDepth = 100;

bool is_ascii(char32_t c) { return c < 0x80; }
bool is_letter(char32_t c) { return is_ascii(c) && std::isalpha(static_cast<int>(c)) != 0; }
bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }

// One character as PCRE2 takes it literally, inside and outside of classes.
std::string literal(char32_t c) {
  if (is_letter(c) || is_digit(c)) return {static_cast<char>(c)};
  return fmt::format("\\x{{{:X}}}", static_cast<uint32_t>(c));
}

/// An escape or a property: one character, or the inside of a class.
struct Escaped {
  std::optional<char32_t> character;
  std::string set;
  bool is_negated = false;
};

struct Options {
  bool ignore_case = false;
  bool dot_takes_all = false;  // Oniguruma's (?m)
};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  std::string translate() {
    std::string out = body({});
    if (at_ < in_.size()) refuse(at_, "an unmatched )");
    return out;
  }

 private:
  [[noreturn]] void refuse(size_t offset, std::string_view construct) const {
    constexpr size_t kMostQuoted = 200;
    throw_bad_input(
        "the pre-tokenization pattern '{}{}' has {} at offset {}, which is not supported: it means something "
        "else in "
        "the engine of published tokenizers, Oniguruma, than in this program's, PCRE2",
        in_.substr(0, kMostQuoted), in_.size() > kMostQuoted ? "..." : "", construct, offset);
  }

  bool has(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  bool skip(std::string_view text) {
    if (!has(text)) return false;
    at_ += text.size();
    return true;
  }
  char32_t next() { return next_code_point(in_, at_); }

  // Up to the ) of the enclosing group, or the end.
  std::string body(const Options& options) {
    if (++depth_ > kMaxDepth) refuse(at_, "groups this deep");
    std::string out;
    char32_t before = 0;  // the literal letter before, for folding
    while (at_ < in_.size() && in_[at_] != ')') {
      if (skip("|")) {
        out += '|';
        before = 0;
        continue;
      }
      if (const auto inner = isolated_options(options)) {
        // They hold to the end of the group, its further alternatives included.
        out += group_prefix(*inner) + body(*inner) + ")";
        break;
      }
      const size_t begin = at_;
      Atom one = atom(options);
      if (options.ignore_case) check_folding(begin, before, one);
      before = one.letter;
      out += repeated(std::move(one));
    }
    --depth_;
    return out;
  }

  struct Atom {
    std::string text;
    bool may_repeat = true;
    char32_t letter = 0;  // when it is that letter and nothing else
  };

  Atom atom(const Options& options) {
    const size_t begin = at_;
    const char32_t c = next();
    switch (c) {
      case '(':
        return group(begin, options);
      case '[':
        return {character_class(begin, options)};
      case '.':
        return {options.dot_takes_all ? std::string(kAnyCharacter) : R"([^\x{A}])"};
      case '^':
        return {R"((?:\A|(?<=\x{A})(?!\z)))", false};
      case '$':
        return {R"((?=\x{A}|\z))", false};
      case '*':
      case '+':
      case '?':
        refuse(begin, fmt::format("a repeat of nothing, {},", static_cast<char>(c)));
      case '\\':
        return escape(begin, options);
      default:
        if (options.ignore_case && !is_ascii(c)) refuse(begin, "a letter beyond ASCII under (?i)");
        return {literal(c), true, is_letter(c) ? c : 0};
    }
  }

  // Where case does not count, Oniguruma also takes one character for two letters: ß for ss.
  void check_folding(size_t begin, char32_t before, const Atom& now) const {
    const auto lower = [](char32_t c) { return static_cast<char>(std::tolower(static_cast<int>(c))); };
    if (before == 0 || now.letter == 0) return;
    const char pair[] = {lower(before), lower(now.letter)};
    for (const std::string_view folded : {"ss", "st", "ff", "fi", "fl"}) {
      if (folded == std::string_view(pair, 2)) refuse(begin - 1, fmt::format("{} under (?i)", folded));
    }
  }

  static std::string group_prefix(const Options& options) { return options.ignore_case ? "(?i:" : "(?-i:"; }

  // The letters of (?i) or (?i:...) behind "(?", up to ) or :.
  std::optional<Options> option_letters(Options options) {
    bool on = true;
    for (; at_ < in_.size(); ++at_) {
      const char c = in_[at_];
      if (c == '-') {
        on = false;
      } else if (c == 'i') {
        options.ignore_case = on;
      } else if (c == 'm') {
        options.dot_takes_all = on;
      } else if (c == ')' || c == ':') {
        return options;
      } else {
        return std::nullopt;
      }
    }
    return std::nullopt;
  }

  std::optional<Options> isolated_options(const Options& options) {
    const size_t begin = at_;
    if (!skip("(?")) return std::nullopt;
    const auto inner = option_letters(options);
    if (inner && at_ > begin + 2 && skip(")")) return inner;
    at_ = begin;
    return std::nullopt;
  }

  Atom group(size_t begin, const Options& options) {
    for (const std::string_view look : {"?=", "?!", "?<=", "?<!"}) {
      if (skip(look)) return {closed(begin, fmt::format("({}", look), options), false};
    }
    if (skip("?:")) return {closed(begin, "(?:", options)};
    if (skip("?>")) return {closed(begin, "(?>", options)};
    if (skip("?#")) {
      const size_t end = in_.find(')', at_);
      if (end == std::string_view::npos) refuse(begin, "a comment without end");
      at_ = end + 1;
      return {"", false};
    }
    if (has("?<") || has("?'")) return named_group(begin, options);
    if (has("?")) {
      const std::string_view what = in_.substr(begin, 3);
      ++at_;
      const auto inner = option_letters(options);
      if (!inner || !skip(":")) refuse(begin, fmt::format("the group {}", what));
      return {closed(begin, group_prefix(*inner), *inner)};
    }
    if (has("*")) refuse(begin, "the callout (*");
    return {closed(begin, "(", options)};
  }

  // Nothing refers to the name: references are refused.
  Atom named_group(size_t begin, const Options& options) {
    const size_t end = in_.find(in_[at_ + 1] == '<' ? '>' : '\'', at_ + 2);
    if (end == std::string_view::npos || end == at_ + 2) refuse(begin, "a group with half a name");
    at_ = end + 1;
    return {closed(begin, "(?:", options)};
  }

  std::string closed(size_t begin, std::string_view prefix, const Options& options) {
    std::string out = fmt::format("{}{})", prefix, body(options));
    if (!skip(")")) refuse(begin, "a ( without )");
    return out;
  }

  // The repeats behind an atom.
  std::string repeated(Atom one) {
    bool is_repeated = false, is_interval = false;
    while (at_ < in_.size()) {
      const size_t begin = at_;
      const auto repeat = next_repeat();
      if (!repeat) break;
      if (!one.may_repeat) refuse(begin, "a repeat of a position");
      if (is_repeated && !is_interval && !repeat->is_interval) refuse(begin, "a repeat of a repeat");
      one.text = is_repeated ? fmt::format("(?:{}){}", one.text, repeat->text) : one.text + repeat->text;
      is_repeated = true;
      is_interval = repeat->is_interval;
    }
    return std::move(one.text);
  }

  struct Repeat {
    std::string text;
    bool is_interval = false;
  };

  std::optional<Repeat> next_repeat() {
    for (const std::string_view sign : {"*", "+", "?"}) {
      if (!skip(sign)) continue;
      std::string text(sign);
      if (skip("?")) {
        text += '?';
      } else if (skip("+")) {
        text += '+';
      }
      return Repeat{text, false};
    }
    return interval();
  }

  // {n}, {n,}, {n,m}, {,m}; anything else in braces is literal. Only those with a comma have a lazy form,
  // none a possessive one: a ? or + behind is a repeat of its own.
  std::optional<Repeat> interval() {
    const size_t begin = at_;
    if (!skip("{")) return std::nullopt;
    const auto low = number(begin);
    const bool has_comma = skip(",");
    const auto high = has_comma ? number(begin) : low;
    if (!skip("}") || (!low && !high)) {
      at_ = begin;
      return std::nullopt;
    }
    if (low && high && *low > *high) refuse(begin, "an interval whose lower end is above its upper one");
    Repeat repeat{fmt::format("{{{}", low.value_or(0)), true};
    if (has_comma) repeat.text += high ? fmt::format(",{}", *high) : ",";
    repeat.text += '}';
    if (has_comma && skip("?")) repeat.text += '?';
    return repeat;
  }

  std::optional<int> number(size_t begin) {
    std::optional<int> value;
    for (; at_ < in_.size() && is_digit(static_cast<unsigned char>(in_[at_])); ++at_) {
      value = value.value_or(0) * 10 + (in_[at_] - '0');
      if (*value > kMostRepeats) refuse(begin, fmt::format("more than {} repeats", kMostRepeats));
    }
    return value;
  }

  Atom escape(size_t begin, const Options& options) {
    if (at_ == in_.size()) refuse(begin, "a \\ at the end");
    const std::string word = fmt::format("[{}]", kBareWordSet);
    switch (in_[at_]) {
      case 'A':
      case 'z':
        return {fmt::format("\\{}", in_[at_++]), false};
      case 'Z':
        ++at_;
        return {R"((?=\x{A}?\z))", false};
      case 'b':
        ++at_;
        return {fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word), false};
      case 'B':
        ++at_;
        return {fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word), false};
      case 'R':
        ++at_;
        return {R"((?>\x{D}\x{A}|[\x{A}-\x{D}\x{85}\x{2028}\x{2029}]))"};
      case 'N':
        ++at_;
        return {R"([^\x{A}])"};
      case 'O':
        ++at_;
        return {std::string(kAnyCharacter)};
      default:
        break;
    }
    const Escaped what = escaped(begin);
    if (what.character) {
      if (options.ignore_case && !is_ascii(*what.character))
        refuse(begin, "a letter beyond ASCII under (?i)");
      return {literal(*what.character), true, is_letter(*what.character) ? *what.character : 0};
    }
    if (options.ignore_case && what.set != kSpaceSet && what.set != kDigitSet)
      refuse(begin, "a set under (?i)");
    const std::string_view set = what.set == kWordSet ? kBareWordSet : what.set;
    return {fmt::format("[{}{}]", what.is_negated ? "^" : "", set)};
  }

  // What means the same inside and outside of a class; `begin` is the place of the backslash, which is read.
  Escaped escaped(size_t begin) {
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

  Escaped property(size_t begin, bool is_negated) {
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
  char32_t code_point(size_t begin, bool is_u) {
    const bool has_braces = !is_u && skip("{");
    const size_t most = has_braces ? 8 : is_u ? 4 : 2;
    uint32_t value = 0;
    size_t digits = 0;
    for (; digits < most && at_ < in_.size() && std::isxdigit(static_cast<unsigned char>(in_[at_])) != 0;
         ++digits) {
      const char c = in_[at_++];
      value = value * 16 + static_cast<uint32_t>(
                               is_digit(static_cast<unsigned char>(c)) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    const bool is_whole = has_braces ? digits > 0 && skip("}") : digits == most;
    const bool is_surrogate = value >= 0xD800 && value < 0xE000;
    if (!is_whole || value > 0x10FFFF || is_surrogate || (!has_braces && !is_u && value >= 0x80)) {
      refuse(begin, fmt::format("the code {}", in_.substr(begin, at_ - begin)));
    }
    return value;
  }

  /// What stands between two && of a class.
  struct Part {
    std::string set;  ///< the inside of a PCRE2 class
    std::vector<std::string> nested;
  };

  // An expression that matches one character, whichever way it goes: alternatives and look-aheads of such
  // sets cannot change how far a match reaches.
  static std::string one_of(const Part& part) {
    std::string all = part.set.empty() ? "" : fmt::format("[{}]", part.set);
    for (const auto& one : part.nested) all += (all.empty() ? "" : "|") + one;
    return part.nested.size() + (part.set.empty() ? 0 : 1) > 1 ? fmt::format("(?:{})", all) : all;
  }

  std::string character_class(size_t begin, const Options& options) {
    if (++depth_ > kMaxDepth) refuse(begin, "classes this deep");
    const bool is_negated = skip("^");
    if (is_negated && options.ignore_case) refuse(begin, "a negated class under (?i)");
    std::vector<Part> parts(1);
    bool is_first = true;
    while (true) {
      if (at_ == in_.size()) refuse(begin, "a class without ]");
      if (has("]") && !(is_first && in_.find(']', at_ + 1) != std::string_view::npos)) break;
      if (skip("&&")) {
        if (options.ignore_case) refuse(at_ - 2, "&& under (?i)");
        parts.emplace_back();
      } else {
        class_item(parts.back(), is_first, options);
      }
      is_first = false;
    }
    ++at_;
    --depth_;
    for (const Part& part : parts) {
      if (part.set.empty() && part.nested.empty()) refuse(begin, "a class with an empty part");
    }
    if (parts.size() == 1 && parts[0].nested.empty()) {
      return fmt::format("[{}{}]", is_negated ? "^" : "", parts[0].set);
    }
    std::string all;
    for (size_t p = 0; p + 1 < parts.size(); ++p) all += fmt::format("(?={})", one_of(parts[p]));
    all += one_of(parts.back());
    return is_negated ? fmt::format("(?:(?!{}){})", all, kAnyCharacter) : fmt::format("(?:{})", all);
  }

  void class_item(Part& part, bool is_first, const Options& options) {
    const size_t begin = at_;
    if (skip("[")) {
      if (options.ignore_case) refuse(begin, "a class in a class under (?i)");
      if (has(":")) return posix(part, begin);
      part.nested.push_back(character_class(begin, options));
      return;
    }
    const Escaped low = class_character();
    if (!low.character) {
      if (options.ignore_case) refuse(begin, "a set under (?i)");
      add_set(part, low);
      if (has("-") && !has("-]")) refuse(at_, "a - behind a set in a class");
      return;
    }
    if (options.ignore_case && !is_ascii(*low.character)) refuse(begin, "a letter beyond ASCII under (?i)");
    const bool is_dash = *low.character == '-' && in_[begin] == '-';
    if (is_dash && !is_first && !has("]")) refuse(begin, "a - in the middle of a class");
    part.set += literal(*low.character);
    if (!has("-") || in_.substr(at_).starts_with("-]")) return;
    if (is_dash || has("-[") || has("--") || has("-&&")) refuse(at_, "a - that makes no range");
    ++at_;
    const Escaped high = class_character();
    if (!high.character) refuse(begin, "a range that ends with a set");
    if (*high.character < *low.character) refuse(begin, "a range from high to low");
    if (options.ignore_case && !is_ascii(*high.character)) refuse(begin, "a range beyond ASCII under (?i)");
    part.set += '-' + literal(*high.character);
  }

  static void add_set(Part& part, const Escaped& set) {
    const bool is_one_property = set.set.starts_with("\\p{") && set.set.find('\\', 1) == std::string::npos;
    if (set.is_negated && is_one_property) {
      part.set += "\\P" + set.set.substr(2);
    } else if (set.is_negated) {
      part.nested.push_back(fmt::format("[^{}]", set.set));
    } else {
      part.set += set.set;
    }
  }

  Escaped class_character() {
    const size_t begin = at_;
    if (begin == in_.size()) refuse(begin, "a class without ]");
    const char32_t c = next();
    if (c != '\\') return {c, {}};
    if (at_ == in_.size()) refuse(begin, "a \\ at the end");
    if (skip("b")) return {U'\b', {}};
    return escaped(begin);
  }

  // [:name:] or [:^name:]; `begin` is the place of its [.
  void posix(Part& part, size_t begin) {
    const size_t end = in_.find(":]", at_ + 1);
    if (end == std::string_view::npos) refuse(begin, "a class that begins with [:");
    ++at_;
    Escaped set;
    set.is_negated = skip("^");
    set.set = posix_set(in_.substr(at_, end - at_));
    if (set.set.empty())
      refuse(begin, fmt::format("the class {}", in_.substr(begin, std::min<size_t>(40, end + 2 - begin))));
    at_ = end + 2;
    add_set(part, set);
  }

  std::string_view in_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

std::string oniguruma_to_pcre2(std::string_view pattern) { return Translator(pattern).translate(); }

}  // namespace trireme
