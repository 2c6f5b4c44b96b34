// Classes: sets of characters, classes in classes, and intersections of them.
#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/pattern/oniguruma_classes.h"
#include "runtime/data/tokenizer/pattern/oniguruma_reader.h"

namespace trireme {

// An expression that matches one character, whichever way it goes: alternatives and look-aheads of such
// sets cannot change how far a match reaches.
std::string OnigurumaReader::one_of(const Part& part) {
  std::string all = part.set.empty() ? "" : fmt::format("[{}]", part.set);
  for (const auto& one : part.nested) all += (all.empty() ? "" : "|") + one;
  return part.nested.size() + (part.set.empty() ? 0 : 1) > 1 ? fmt::format("(?:{})", all) : all;
}

std::string OnigurumaReader::character_class(size_t begin, bool ignore_case) {
  if (++depth_ > kMaxDepth) refuse(begin, "classes this deep");
  const bool is_negated = skip("^");
  if (is_negated && ignore_case) refuse(begin, "a negated class under (?i)");
  std::vector<Part> parts(1);
  bool is_first = true;
  while (true) {
    if (at_ == in_.size()) refuse(begin, "a class without ]");
    if (has("]") && !(is_first && in_.find(']', at_ + 1) != std::string_view::npos)) break;
    if (skip("&&")) {
      if (ignore_case) refuse(at_ - 2, "&& under (?i)");
      parts.emplace_back();
    } else {
      class_item(parts.back(), is_first, ignore_case);
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

void OnigurumaReader::class_item(Part& part, bool is_first, bool ignore_case) {
  const size_t begin = at_;
  if (skip("[")) {
    if (ignore_case) refuse(begin, "a class in a class under (?i)");
    if (has(":")) return posix(part, begin);
    part.nested.push_back(character_class(begin, ignore_case));
    return;
  }
  const Escaped low = class_character();
  if (!low.character) {
    if (ignore_case) refuse(begin, "a set under (?i)");
    add_set(part, low);
    if (has("-") && !has("-]")) refuse(at_, "a - behind a set in a class");
    return;
  }
  if (ignore_case && !is_ascii(*low.character)) refuse(begin, "a letter beyond ASCII under (?i)");
  const bool is_dash = *low.character == '-' && in_[begin] == '-';
  if (is_dash && !is_first && !has("]")) refuse(begin, "a - in the middle of a class");
  part.set += pcre2_literal(*low.character);
  if (!has("-") || in_.substr(at_).starts_with("-]")) return;
  if (is_dash || has("-[") || has("--") || has("-&&")) refuse(at_, "a - that makes no range");
  ++at_;
  const Escaped high = class_character();
  if (!high.character) refuse(begin, "a range that ends with a set");
  if (*high.character < *low.character) refuse(begin, "a range from high to low");
  if (ignore_case && !is_ascii(*high.character)) refuse(begin, "a range beyond ASCII under (?i)");
  part.set += '-' + pcre2_literal(*high.character);
}

void OnigurumaReader::add_set(Part& part, const Escaped& set) {
  const bool is_one_property = set.set.starts_with("\\p{") && set.set.find('\\', 1) == std::string::npos;
  if (set.is_negated && is_one_property) {
    part.set += "\\P" + set.set.substr(2);
  } else if (set.is_negated) {
    part.nested.push_back(fmt::format("[^{}]", set.set));
  } else {
    part.set += set.set;
  }
}

OnigurumaReader::Escaped OnigurumaReader::class_character() {
  const size_t begin = at_;
  if (begin == in_.size()) refuse(begin, "a class without ]");
  const char32_t c = next();
  if (c != '\\') return {c, {}};
  if (at_ == in_.size()) refuse(begin, "a \\ at the end");
  if (skip("b")) return {U'\b', {}};
  return escaped(begin);
}

// [:name:] or [:^name:]; `begin` is the place of its [.
void OnigurumaReader::posix(Part& part, size_t begin) {
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

}  // namespace trireme
