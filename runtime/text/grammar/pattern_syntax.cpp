#include "runtime/text/grammar/pattern_syntax.h"

#include <algorithm>
#include <optional>

#include "runtime/base/error.h"
#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

constexpr char32_t kLastCodePoint = 0x10FFFF, kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;
constexpr int kMostNestedGroups = 50;
constexpr uint32_t kMostRepeats = 1000;

const CodePointSet& digit_set() {
  static const CodePointSet kSet = {{'0', '9'}};
  return kSet;
}
const CodePointSet& word_set() {
  static const CodePointSet kSet = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
  return kSet;
}
// WhiteSpace and LineTerminator of ECMA-262.
const CodePointSet& space_set() {
  static const CodePointSet kSet = {{0x09, 0x0D},     {0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680},
                                    {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                                    {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
  return kSet;
}

class PatternReader {
 public:
  explicit PatternReader(std::string_view text) : text_(text) {}

  PatternTree read() {
    const uint32_t root = choice(0);
    if (!at_end()) fail("a group is closed that was not opened");
    tree_.root = root;
    return std::move(tree_);
  }

 private:
  [[noreturn]] void fail(std::string_view reason) const { throw_bad_input("at byte {}: {}", at_, reason); }

  bool at_end() const { return at_ == text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool take(std::string_view what) {
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }
  uint32_t add(PatternNode node) {
    tree_.nodes.push_back(std::move(node));
    return static_cast<uint32_t>(tree_.nodes.size() - 1);
  }

  uint32_t choice(int depth) {
    std::vector<uint32_t> parts = {sequence(depth)};
    while (take("|")) parts.push_back(sequence(depth));
    return parts.size() == 1 ? parts[0] : add({.kind = PatternKind::choice, .parts = std::move(parts)});
  }

  uint32_t sequence(int depth) {
    std::vector<uint32_t> parts;
    while (!at_end() && peek() != '|' && peek() != ')') parts.push_back(repeated(depth));
    return add({.kind = PatternKind::sequence, .parts = std::move(parts)});
  }

  uint32_t repeated(int depth) {
    const bool is_anchor = peek() == '^' || peek() == '$';
    const uint32_t part = atom(depth);
    uint32_t least = 0, most = PatternTree::kUnlimited;
    if (take("*")) {
    } else if (take("+")) {
      least = 1;
    } else if (take("?")) {
      most = 1;
    } else if (take("{")) {
      least = most = count();
      if (take(",")) most = peek() == '}' ? PatternTree::kUnlimited : count();
      if (!take("}")) fail("a repetition such as {2}, {2,} or {2,5} is not closed");
      if (least > most) fail("a repetition allows none");
    } else {
      return part;
    }
    take("?");  // a lazy repetition matches the same texts
    if (is_anchor) fail("\"^\" and \"$\" cannot be repeated");
    if (std::string_view("*+?{").find(peek()) != std::string_view::npos && !at_end())
      fail("there is nothing to repeat");
    return add({.kind = PatternKind::repeat, .parts = {part}, .least = least, .most = most});
  }

  uint32_t count() {
    uint32_t value = 0;
    const size_t begin = at_;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      value = value * 10 + static_cast<uint32_t>(peek() - '0');
      if (value > kMostRepeats) fail(fmt::format("more than {} repetitions are not supported", kMostRepeats));
    }
    if (at_ == begin) fail("a number of repetitions is missing; a brace itself is \"\\{\"");
    return value;
  }

  uint32_t characters(CodePointSet set) {
    return add({.kind = PatternKind::characters, .characters = std::move(set)});
  }

  uint32_t atom(int depth) {
    if (take("^")) return add({.kind = PatternKind::text_begin});
    if (take("$")) return add({.kind = PatternKind::text_end});
    if (take("(")) return group(depth);
    if (take("[")) return characters(set());
    if (take(".")) return characters(complement({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
    if (take("\\")) {
      if (auto set = class_escape()) return characters(std::move(*set));
      if (peek() == 'b' || peek() == 'B') fail("word boundaries are not supported");
      if (peek() == 'k' || (peek() >= '1' && peek() <= '9')) fail("references to groups are not supported");
      const char32_t c = escaped();
      return characters(normalized({{c, c}}));
    }
    if (std::string_view("*+?{}]").find(peek()) != std::string_view::npos)
      fail("there is nothing to repeat or close; the character itself has a backslash before it");
    const char32_t c = next_code_point(text_, at_);
    return characters({{c, c}});
  }

  uint32_t group(int depth) {
    if (depth >= kMostNestedGroups) fail("groups are nested too deep");
    if (take("?")) {
      if (take("<") && peek() != '=' && peek() != '!') {
        const size_t end = text_.find('>', at_);
        if (end == std::string_view::npos) fail("the name of a group is not closed");
        at_ = end + 1;
      } else if (!take(":")) {
        fail("looking ahead or back is not supported");
      }
    }
    const uint32_t inner = choice(depth + 1);
    if (!take(")")) fail("a group is not closed");
    return inner;
  }

  // \d \D \w \W \s \S behind the backslash.
  std::optional<CodePointSet> class_escape() {
    if (take("d")) return digit_set();
    if (take("D")) return complement(digit_set());
    if (take("w")) return word_set();
    if (take("W")) return complement(word_set());
    if (take("s")) return space_set();
    if (take("S")) return complement(space_set());
    if (peek() == 'p' || peek() == 'P') fail("classes of Unicode (\\p) are not supported");
    return std::nullopt;
  }

  char32_t hex(size_t digits) {
    char32_t value = 0;
    for (size_t i = 0; i < digits; ++i, ++at_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail("a digit of a code point is missing");
      value = value * 16 + static_cast<char32_t>(digit);
    }
    return value;
  }

  char32_t unicode_escape() {
    if (take("{")) {
      const size_t end = text_.find('}', at_);
      if (end == std::string_view::npos || end == at_ || end - at_ > 6)
        fail("a code point is \\u{1} to \\u{10FFFF}");
      const char32_t value = hex(end - at_);
      ++at_;
      if (value > kLastCodePoint) fail("there is no such code point");
      return value;
    }
    const char32_t first = hex(4);
    if (first < kFirstSurrogate || first > 0xDBFF || !take("\\u")) return first;
    const char32_t second = hex(4);
    if (second < 0xDC00 || second > kLastSurrogate) fail("half of a surrogate pair is missing");
    return 0x10000 + ((first - kFirstSurrogate) << 10) + (second - 0xDC00);
  }

  // One character, behind the backslash.
  char32_t escaped() {
    constexpr std::string_view kNames = "tnvfr", kValues = "\t\n\v\f\r",
                               kThemselves = " !\"#$%&'()*+,-./:;<=>?@[\\]^`{|}~";
    const char c = peek();
    if (at_end()) fail("a backslash stands at the end");
    if (const size_t i = kNames.find(c); i != std::string_view::npos)
      return ++at_, static_cast<char32_t>(kValues[i]);
    if (kThemselves.find(c) != std::string_view::npos) return ++at_, static_cast<char32_t>(c);
    if (take("x")) return hex(2);
    if (take("u")) return unicode_escape();
    if (take("0") && !(peek() >= '0' && peek() <= '9')) return 0;
    fail("this escape is not supported");
  }

  struct ClassAtom {
    CodePointSet set;
    bool is_one;
  };
  ClassAtom class_atom() {
    if (!take("\\")) {
      const char32_t c = next_code_point(text_, at_);
      return {{{c, c}}, true};
    }
    if (auto set = class_escape()) return {std::move(*set), false};
    const char32_t c = take("b") ? 8 : escaped();
    return {{{c, c}}, true};
  }

  // What is between brackets, behind the first.
  CodePointSet set() {
    const bool is_negated = take("^");
    CodePointSet all;
    while (!take("]")) {
      if (at_end()) fail("a class of characters is not closed");
      ClassAtom one = class_atom();
      if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        const ClassAtom other = class_atom();
        if (!one.is_one || !other.is_one || other.set[0].first < one.set[0].first)
          fail("a range of characters has no order");
        one.set[0].last = other.set[0].last;
      }
      all.insert(all.end(), one.set.begin(), one.set.end());
    }
    all = normalized(std::move(all));
    return is_negated ? complement(all) : all;
  }

  std::string_view text_;
  size_t at_ = 0;
  PatternTree tree_;
};

}  // namespace

CodePointSet normalized(CodePointSet set) {
  std::ranges::sort(set, {}, &CodePointRange::first);
  CodePointSet merged;
  for (const CodePointRange& range : set) {
    if (!merged.empty() && range.first <= merged.back().last + 1) {
      merged.back().last = std::max(merged.back().last, range.last);
    } else {
      merged.push_back(range);
    }
  }
  CodePointSet out;
  for (const CodePointRange& range : merged) {
    if (range.first < kFirstSurrogate)
      out.push_back({range.first, std::min<char32_t>(range.last, kFirstSurrogate - 1)});
    if (range.last > kLastSurrogate)
      out.push_back({std::max<char32_t>(range.first, kLastSurrogate + 1), range.last});
  }
  return out;
}

CodePointSet complement(const CodePointSet& normal) {
  CodePointSet out;
  char32_t next = 0;
  for (const CodePointRange& range : normal) {
    if (range.first > next) out.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCodePoint) out.push_back({next, kLastCodePoint});
  return normalized(std::move(out));
}

PatternTree parse_pattern(std::string_view text) {
  constexpr size_t kLongest = 4000;
  if (text.size() > kLongest) throw_bad_input("it has {} bytes; {} are supported", text.size(), kLongest);
  return PatternReader(text).read();
}

}  // namespace trireme
