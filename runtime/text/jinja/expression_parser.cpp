#include "runtime/text/jinja/expression_parser.h"

#include <algorithm>
#include <charconv>

#include "runtime/text/jinja/literals.h"
#include "runtime/text/jinja/names.h"

namespace trireme::jinja {

namespace {

constexpr std::string_view kComparisons[] = {"==", "!=", "<", "<=", ">", ">="};

}  // namespace

void ExpressionParser::too_deep() const {
  tokens_.fail_now(fmt::format("expressions are nested more than {} deep", kMostParsedDepth));
}

ExprPtr ExpressionParser::make(ExprKind kind, Place place, std::string text) const {
  return std::make_unique<Expr>(Expr{kind, place, std::move(text)});
}

void ExpressionParser::add(Expr& to, ExprPtr part) const {
  if (part != nullptr) to.depth = std::max(to.depth, part->depth + 1);
  if (to.depth > kMostParsedDepth) too_deep();
  to.parts.push_back(std::move(part));
}

ExprPtr ExpressionParser::joined(ExprKind kind, Place place, std::string text, ExprPtr left,
                                 ExprPtr right) const {
  ExprPtr out = make(kind, place, std::move(text));
  add(*out, std::move(left));
  if (right != nullptr) add(*out, std::move(right));
  return out;
}

ExprPtr ExpressionParser::expression() {
  const Nesting nesting(*this);
  ExprPtr value = either();
  while (tokens_.now().is_name("if")) {
    ExprPtr out = make(ExprKind::conditional, tokens_.take().place);
    add(*out, either());
    add(*out, std::move(value));
    add(*out, tokens_.skip_name("else") ? expression() : nullptr);
    value = std::move(out);
  }
  return value;
}

ExprPtr ExpressionParser::either() {
  ExprPtr left = both();
  while (tokens_.now().is_name("or")) {
    const Place place = tokens_.take().place;
    left = joined(ExprKind::or_, place, "", std::move(left), both());
  }
  return left;
}

ExprPtr ExpressionParser::both() {
  ExprPtr left = negation();
  while (tokens_.now().is_name("and")) {
    const Place place = tokens_.take().place;
    left = joined(ExprKind::and_, place, "", std::move(left), negation());
  }
  return left;
}

ExprPtr ExpressionParser::negation() {
  if (!tokens_.now().is_name("not")) return comparison();
  const Nesting nesting(*this);
  const Place place = tokens_.take().place;
  return joined(ExprKind::not_, place, "", negation(), nullptr);
}

ExprPtr ExpressionParser::comparison() {
  ExprPtr first = sum();
  ExprPtr out;
  while (true) {
    const Token& now = tokens_.now();
    const Place place = now.place;
    std::string op;
    if (now.kind == TokenKind::symbol &&
        std::ranges::find(kComparisons, now.text) != std::end(kComparisons)) {
      op = tokens_.take().text;
    } else if (tokens_.skip_name("in")) {
      op = "in";
    } else if (now.is_name("not") && tokens_.ahead().is_name("in")) {
      tokens_.take();
      tokens_.take();
      op = "not_in";
    } else {
      break;
    }
    if (out == nullptr) {
      out = make(ExprKind::compare, place);
      add(*out, std::move(first));
    }
    out->text += (out->text.empty() ? "" : " ") + op;
    add(*out, sum());
  }
  return out == nullptr ? std::move(first) : std::move(out);
}

ExprPtr ExpressionParser::sum() {
  ExprPtr left = concatenation();
  while (tokens_.now().is("+") || tokens_.now().is("-")) {
    const Token op = tokens_.take();
    left = joined(ExprKind::arithmetic, op.place, op.text, std::move(left), concatenation());
  }
  return left;
}

ExprPtr ExpressionParser::concatenation() {
  ExprPtr first = product();
  if (!tokens_.now().is("~")) return first;
  ExprPtr out = make(ExprKind::concatenate, tokens_.now().place);
  add(*out, std::move(first));
  while (tokens_.skip("~")) add(*out, product());
  return out;
}

ExprPtr ExpressionParser::product() {
  ExprPtr left = power();
  while (tokens_.now().is("*") || tokens_.now().is("/") || tokens_.now().is("//") || tokens_.now().is("%")) {
    const Token op = tokens_.take();
    left = joined(ExprKind::arithmetic, op.place, op.text, std::move(left), power());
  }
  return left;
}

ExprPtr ExpressionParser::power() {
  ExprPtr left = unary(true);
  while (tokens_.now().is("**")) {
    const Token op = tokens_.take();
    left = joined(ExprKind::arithmetic, op.place, op.text, std::move(left), unary(true));
  }
  return left;
}

ExprPtr ExpressionParser::unary(bool with_filters) {
  ExprPtr value;
  if (tokens_.now().is("-") || tokens_.now().is("+")) {
    const Nesting nesting(*this);
    const Token sign = tokens_.take();
    value =
        joined(sign.text == "-" ? ExprKind::negate : ExprKind::plus, sign.place, "", unary(false), nullptr);
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filters ? filters_and_tests(std::move(value)) : std::move(value);
}

ExprPtr ExpressionParser::primary() {
  const Token& now = tokens_.now();
  const Place place = now.place;
  if (now.is("(")) return parenthesized();
  if (now.is("[")) return list();
  if (now.is("{")) return dict();
  ExprPtr out = make(ExprKind::constant, place);
  if (now.kind == TokenKind::name) {
    const std::string name = tokens_.take().text;
    if (name == "true" || name == "True" || name == "false" || name == "False") {
      out->value = name == "true" || name == "True";
    } else if (name == "none" || name == "None") {
      out->value = None{};
    } else {
      out->kind = ExprKind::name;
      out->text = name;
      // What is more would let values of loops outlive them.
      const Token& next = tokens_.now();
      if (name == "varargs" || name == "kwargs" || name == "self") {
        fail_at(tokens_.name(), place, fmt::format("'{}' is not supported", name));
      }
      if (name == "loop" && !next.is(".") && !next.is("[") && !next.is_name("is")) {
        fail_at(tokens_.name(), place,
                "'loop' as a value (also of a recursive loop) is not supported; its attributes are");
      }
    }
  } else if (now.kind == TokenKind::string) {
    std::string text;
    while (tokens_.now().kind == TokenKind::string) text += tokens_.take().text;
    out->value = text;
  } else if (now.kind == TokenKind::integer) {
    long long number = 0;
    if (!parse_integer(now.text, number)) tokens_.fail_now("expected a number below 2^63");
    tokens_.take();
    out->value = int64_t{number};
  } else if (now.kind == TokenKind::real) {
    double number = 0;
    std::from_chars(now.text.data(), now.text.data() + now.text.size(), number);
    tokens_.take();
    out->value = number;
  } else {
    tokens_.fail_now("expected an expression");
  }
  return out;
}

ExprPtr ExpressionParser::parenthesized() {
  const Nesting nesting(*this);
  const Place place = tokens_.take().place;
  if (tokens_.skip(")")) return make(ExprKind::tuple, place);
  ExprPtr out = tuple();
  tokens_.expect(")");
  return out;
}

ExprPtr ExpressionParser::list() {
  ExprPtr out = make(ExprKind::list, tokens_.take().place);
  while (!tokens_.skip("]")) {
    if (!out->parts.empty()) tokens_.expect(",");
    if (tokens_.skip("]")) break;
    add(*out, expression());
  }
  return out;
}

ExprPtr ExpressionParser::dict() {
  ExprPtr out = make(ExprKind::dict, tokens_.take().place);
  while (!tokens_.skip("}")) {
    if (!out->parts.empty()) tokens_.expect(",");
    if (tokens_.skip("}")) break;
    add(*out, expression());
    tokens_.expect(":");
    add(*out, expression());
  }
  return out;
}

bool ExpressionParser::ends_tuple() const {
  const Token& now = tokens_.now();
  return now.kind == TokenKind::variable_end || now.kind == TokenKind::block_end || now.is(")");
}

ExprPtr ExpressionParser::tuple(bool conditional) {
  const Place place = tokens_.now().place;
  ExprPtr first = conditional ? expression() : either();
  if (!tokens_.now().is(",")) return first;
  ExprPtr out = make(ExprKind::tuple, place);
  add(*out, std::move(first));
  while (tokens_.skip(",") && !ends_tuple()) add(*out, conditional ? expression() : either());
  return out;
}

}  // namespace trireme::jinja
