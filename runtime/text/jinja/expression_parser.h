// Parses expressions, with Jinja's precedence.
#pragma once

#include "runtime/text/jinja/ast.h"
#include "runtime/text/jinja/token_stream.h"

namespace trireme::jinja {

/// Of expressions inside each other.
inline constexpr int kMostParsedDepth = 200;

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  ExprPtr expression();
  /// Expressions with commas between them are a tuple. `conditional`: whether "a if b" is read.
  ExprPtr tuple(bool conditional = true);
  /// The filters that follow `input`, which may be null; `inline_first`: without the first |.
  ExprPtr filters(ExprPtr input, bool inline_first);
  Target target(bool with_attributes);
  Parameters parameters();

 private:
  friend class Nesting;

  ExprPtr either();
  ExprPtr both();
  ExprPtr negation();
  ExprPtr comparison();
  ExprPtr sum();
  ExprPtr concatenation();
  ExprPtr product();
  ExprPtr power();
  ExprPtr unary(bool with_filters);
  ExprPtr primary();
  ExprPtr list();
  ExprPtr dict();
  ExprPtr parenthesized();
  ExprPtr postfix(ExprPtr base);
  ExprPtr filters_and_tests(ExprPtr base);
  ExprPtr attribute_of(ExprPtr base);
  ExprPtr subscript(ExprPtr base);
  ExprPtr test(ExprPtr base);
  void arguments(Expr& call);
  Target simple_target(bool with_attributes);

  bool ends_tuple() const;
  /// Adds a part and keeps account of the depth.
  void add(Expr& to, ExprPtr part) const;
  ExprPtr make(ExprKind kind, Place place, std::string text = {}) const;
  ExprPtr joined(ExprKind kind, Place place, std::string text, ExprPtr left, ExprPtr right) const;
  [[noreturn]] void too_deep() const;

  TokenStream& tokens_;
  int level_ = 0;
};

/// Counts calls of the parser inside each other.
class Nesting {
 public:
  explicit Nesting(ExpressionParser& parser) : level_(parser.level_) {
    if (++level_ > kMostParsedDepth) parser.too_deep();
  }
  ~Nesting() { --level_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  int& level_;
};

}  // namespace trireme::jinja
