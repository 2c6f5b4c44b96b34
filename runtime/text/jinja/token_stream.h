// The tokens of a template, as both halves of the parser walk them.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "runtime/text/jinja/lexer.h"

namespace trireme::jinja {

class TokenStream {
 public:
  TokenStream(std::vector<Token> tokens, const std::string& name) : tokens_(std::move(tokens)), name_(name) {}

  const Token& now() const { return tokens_[at_]; }
  /// The one after; the end stays the end.
  const Token& ahead() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  Token take() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }

  bool skip(std::string_view symbol) { return now().is(symbol) && (take(), true); }
  bool skip_name(std::string_view name) { return now().is_name(name) && (take(), true); }
  void expect(std::string_view symbol) {
    if (!skip(symbol)) fail_now(fmt::format("expected '{}'", symbol));
  }
  void expect(TokenKind kind, std::string_view what) {
    if (now().kind != kind) fail_now(fmt::format("expected {}", what));
    take();
  }
  std::string expect_name() {
    if (now().kind != TokenKind::name) fail_now("expected a name");
    return take().text;
  }

  [[noreturn]] void fail_now(const std::string& message) const {
    fail_at(name_, now().place, fmt::format("{}, not {}", message, now_text()));
  }
  const std::string& name() const { return name_; }

 private:
  std::string now_text() const {
    switch (now().kind) {
      case TokenKind::data:
        return "text";
      case TokenKind::variable_begin:
        return "{{";
      case TokenKind::variable_end:
        return "}}";
      case TokenKind::block_begin:
        return "{%";
      case TokenKind::block_end:
        return "%}";
      case TokenKind::string:
        return "a string";
      case TokenKind::end:
        return "the end of the template";
      default:
        return "'" + now().text + "'";
    }
  }

  std::vector<Token> tokens_;
  const std::string& name_;
  size_t at_ = 0;
};

}  // namespace trireme::jinja
