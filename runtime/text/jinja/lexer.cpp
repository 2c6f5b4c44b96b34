#include "runtime/text/jinja/lexer.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "runtime/base/error.h"
#include "runtime/io/json/utf8.h"
#include "runtime/text/jinja/literals.h"
#include "runtime/text/jinja/strings.h"

namespace trireme::jinja {

namespace {

/// Line ends as \n, and the last one gone.
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

class Lexer {
 public:
  Lexer(std::string source, const std::string& name) : source_(std::move(source)), name_(name) {
    lines_.push_back(0);
    for (size_t i = 0; i < source_.size(); ++i) {
      if (source_[i] == '\n') lines_.push_back(i + 1);
    }
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) text_and_tag();
    add(TokenKind::end, "", at_);
    return std::move(tokens_);
  }

 private:
  Place place_of(size_t at) const {
    const auto line = std::ranges::upper_bound(lines_, at) - lines_.begin();
    return {static_cast<int>(line), static_cast<int>(at - lines_[static_cast<size_t>(line - 1)]) + 1};
  }
  [[noreturn]] void fail_here(size_t at, const std::string& message) const {
    fail_at(name_, place_of(at), message);
  }

  void add(TokenKind kind, std::string text, size_t at) {
    tokens_.push_back({kind, std::move(text), place_of(at)});
  }
  void add_data(std::string_view text, size_t at) {
    if (!text.empty()) add(TokenKind::data, std::string(text), at);
  }

  bool follows(std::string_view text, size_t at) const {
    return std::string_view(source_).substr(at).starts_with(text);
  }

  void skip_space() {
    while (at_ < source_.size()) {
      size_t next = at_;
      if (!is_space(next_code_point(source_, next))) break;
      at_ = next;
    }
  }
  static size_t skip_ascii_space(std::string_view text, size_t at) {
    while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at])) != 0) ++at;
    return at;
  }

  /// The text before a tag that begins with `sign`; "-" strips it, and white space between the begin of the
  /// line and a tag that is not a variable goes.
  std::string_view stripped(std::string_view text, size_t begin, char sign, bool is_variable) const {
    if (sign == '-') return strip(text, std::nullopt, false, true);
    if (sign == '+' || is_variable) return text;
    const size_t newline = text.rfind('\n');
    const bool starts_line = begin == 0 || source_[begin - 1] == '\n';
    const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    if (newline == std::string_view::npos && !starts_line) return text;
    return strip(text.substr(line), std::nullopt, true, true).empty() ? text.substr(0, line) : text;
  }

  /// Where the next tag begins.
  size_t next_tag() const {
    for (size_t at = source_.find('{', at_); at != std::string::npos; at = source_.find('{', at + 1)) {
      if (at + 1 < source_.size() &&
          (source_[at + 1] == '{' || source_[at + 1] == '%' || source_[at + 1] == '#'))
        return at;
    }
    return std::string::npos;
  }

  char sign_at(size_t at) const {
    return at < source_.size() && (source_[at] == '-' || source_[at] == '+') ? source_[at] : ' ';
  }

  void text_and_tag() {
    const size_t begin = at_, tag = next_tag();
    if (tag == std::string::npos) {
      add_data(std::string_view(source_).substr(begin), begin);
      at_ = source_.size();
      return;
    }
    const char kind = source_[tag + 1], sign = sign_at(tag + 2);
    add_data(stripped(std::string_view(source_).substr(begin, tag - begin), begin, sign, kind == '{'), begin);
    at_ = tag + (sign == ' ' ? 2 : 3);
    if (kind == '#') {
      comment(tag);
    } else if (kind == '%' && is_raw(at_)) {
      raw(tag);
    } else {
      add(kind == '%' ? TokenKind::block_begin : TokenKind::variable_begin, "", tag);
      inside(kind == '%', tag);
    }
  }

  /// After the end of a tag whose sign is `sign`.
  void after_tag(char sign, bool trims) {
    if (sign == '-') {
      skip_space();
    } else if (sign != '+' && trims && at_ < source_.size() && source_[at_] == '\n') {
      ++at_;
    }
  }

  void comment(size_t tag) {
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail_here(tag, "the comment {# has no end #}");
    const char sign = end > at_ ? sign_at(end - 1) : ' ';
    at_ = end + 2;
    after_tag(sign, true);
  }

  /// Whether "raw %}" is here; then `*end` is behind it.
  std::optional<std::pair<size_t, char>> tag_end(std::string_view word, size_t at) const {
    at = skip_ascii_space(source_, at);
    if (!follows(word, at)) return std::nullopt;
    at = skip_ascii_space(source_, at + word.size());
    const char sign = sign_at(at);
    if (sign != ' ') ++at;
    if (!follows("%}", at)) return std::nullopt;
    return std::pair(at + 2, sign);
  }
  bool is_raw(size_t at) const {
    const auto end = tag_end("raw", at);
    return end && end->second != '+';
  }

  void raw(size_t tag) {
    const auto [begin, sign] = *tag_end("raw", at_);
    at_ = begin;
    after_tag(sign, false);
    const size_t text = at_;
    for (size_t at = source_.find("{%", at_); at != std::string::npos; at = source_.find("{%", at + 1)) {
      const char before = sign_at(at + 2);
      const auto end = tag_end("endraw", at + (before == ' ' ? 2 : 3));
      if (!end) continue;
      add_data(stripped(std::string_view(source_).substr(text, at - text), text, before, false), text);
      at_ = end->first;
      after_tag(end->second, true);
      return;
    }
    fail_here(tag, "{% raw %} has no {% endraw %}");
  }

  /// The tokens of a tag, and its end.
  void inside(bool is_block, size_t tag) {
    const std::string_view end = is_block ? "%}" : "}}";
    std::string open;  // brackets
    while (true) {
      skip_space();
      if (at_ >= source_.size()) fail_here(tag, fmt::format("the tag has no end {}", end));
      const char sign = sign_at(at_);
      const bool is_signed = sign == '-' || (sign == '+' && is_block);
      if (open.empty() && follows(end, at_ + (is_signed ? 1 : 0))) {
        add(is_block ? TokenKind::block_end : TokenKind::variable_end, "", at_);
        at_ += is_signed ? 3 : 2;
        return after_tag(is_signed ? sign : ' ', is_block);
      }
      token(open);
    }
  }

  void token(std::string& open) {
    const size_t begin = at_;
    const char c = source_[at_];
    if (is_digit(c)) {
      const NumberToken number = scan_number(source_, at_);
      if (number.error != nullptr) fail_here(begin, number.error);
      at_ = number.end;
      add(number.is_real ? TokenKind::real : TokenKind::integer, number.text, begin);
    } else if (is_word(c)) {
      while (at_ < source_.size() && is_word(source_[at_])) ++at_;
      if (at_ < source_.size() && static_cast<unsigned char>(source_[at_]) >= 0x80)
        fail_here(at_, "names are of ASCII letters here");
      add(TokenKind::name, source_.substr(begin, at_ - begin), begin);
    } else if (c == '"' || c == '\'') {
      size_t end = at_ + 1;
      while (end < source_.size() && source_[end] != c) end += source_[end] == '\\' ? 2 : 1;
      if (end >= source_.size()) fail_here(begin, "the string has no end");
      at_ = end + 1;
      const UnescapedString value = unescape(std::string_view(source_).substr(begin + 1, end - begin - 1));
      if (value.error != nullptr) fail_here(begin, value.error);
      add(TokenKind::string, value.text, begin);
    } else {
      symbol(open);
    }
  }

  void symbol(std::string& open) {
    constexpr std::string_view kSymbols[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                             "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                             ">",  "<",  "=",  ".",  ":",  "|",  ","};
    for (const std::string_view symbol : kSymbols) {
      if (!follows(symbol, at_)) continue;
      if (symbol == "(" || symbol == "[" || symbol == "{") {
        open += symbol == "(" ? ')' : symbol == "[" ? ']' : '}';
      } else if (symbol == ")" || symbol == "]" || symbol == "}") {
        if (open.empty() || open.back() != symbol[0]) {
          fail_here(at_, fmt::format("unexpected '{}'{}", symbol,
                                     open.empty() ? "" : fmt::format(", expected '{}'", open.back())));
        }
        open.pop_back();
      }
      add(TokenKind::symbol, std::string(symbol), at_);
      at_ += symbol.size();
      return;
    }
    size_t next = at_;
    next_code_point(source_, next);
    fail_here(at_, fmt::format("unexpected character '{}'", source_.substr(at_, next - at_)));
  }

  std::string source_;
  const std::string& name_;
  std::vector<size_t> lines_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace

void fail_at(const std::string& name, Place place, const std::string& message) {
  throw_bad_input("{}:{}:{}: {}", name, place.line, place.column, message);
}

std::vector<Token> tokenize(std::string_view source, const std::string& name) {
  check_utf8(source, {name, 0});
  return Lexer(normalized(source), name).run();
}

}  // namespace trireme::jinja
