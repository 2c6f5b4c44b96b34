#include "runtime/data/tokenizer/pattern/oniguruma_pattern.h"

#include <cctype>
#include <optional>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/pattern/oniguruma_classes.h"
#include "runtime/data/tokenizer/pattern/oniguruma_reader.h"

namespace trireme {
namespace {

struct Options {
  bool ignore_case = false;
  bool dot_takes_all = false;  // Oniguruma's (?m)
};

class Translator : OnigurumaReader {
 public:
  explicit Translator(std::string_view pattern) : OnigurumaReader(pattern) {}

  std::string translate() {
    std::string out = body({});
    if (at_ < in_.size()) refuse(at_, "an unmatched )");
    return out;
  }

 private:
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
        return {character_class(begin, options.ignore_case)};
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
        return {pcre2_literal(c), true, is_letter(c) ? c : 0};
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
      return {pcre2_literal(*what.character), true, is_letter(*what.character) ? *what.character : 0};
    }
    if (options.ignore_case && what.set != kSpaceSet && what.set != kDigitSet)
      refuse(begin, "a set under (?i)");
    const std::string_view set = what.set == kWordSet ? kBareWordSet : what.set;
    return {fmt::format("[{}{}]", what.is_negated ? "^" : "", set)};
  }
};

}  // namespace

std::string oniguruma_to_pcre2(std::string_view pattern) { return Translator(pattern).translate(); }

}  // namespace trireme
