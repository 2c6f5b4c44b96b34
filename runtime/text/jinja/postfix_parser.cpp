// What follows a value: attributes, indexes, calls, filters and tests; and what is assigned to.
#include <algorithm>

#include "runtime/text/jinja/expression_parser.h"
#include "runtime/text/jinja/names.h"

namespace trireme::jinja {

ExprPtr ExpressionParser::postfix(ExprPtr base) {
  while (true) {
    if (tokens_.now().is(".")) {
      base = attribute_of(std::move(base));
    } else if (tokens_.now().is("[")) {
      base = subscript(std::move(base));
    } else if (tokens_.now().is("(")) {
      ExprPtr call = make(ExprKind::call, tokens_.now().place);
      add(*call, std::move(base));
      arguments(*call);
      base = std::move(call);
    } else {
      return base;
    }
  }
}

ExprPtr ExpressionParser::attribute_of(ExprPtr base) {
  const Place place = tokens_.take().place;
  if (tokens_.now().kind != TokenKind::integer) {
    return joined(ExprKind::attribute, place, tokens_.expect_name(), std::move(base), nullptr);
  }
  return joined(ExprKind::item, place, "", std::move(base), primary());
}

ExprPtr ExpressionParser::subscript(ExprPtr base) {
  const Place place = tokens_.take().place;
  const auto is_end = [&] { return tokens_.now().is("]") || tokens_.now().is(":"); };
  ExprPtr first = is_end() ? nullptr : expression();
  if (tokens_.now().is(",")) tokens_.fail_now("several indexes in [] are not supported: expected ']'");
  if (first != nullptr && tokens_.skip("]"))
    return joined(ExprKind::item, place, "", std::move(base), std::move(first));
  ExprPtr out = make(ExprKind::slice, place);
  add(*out, std::move(base));
  add(*out, std::move(first));
  tokens_.expect(":");
  add(*out, is_end() ? nullptr : expression());
  add(*out, tokens_.skip(":") && !is_end() ? expression() : nullptr);
  tokens_.expect("]");
  return out;
}

void ExpressionParser::arguments(Expr& call) {
  tokens_.expect("(");
  bool is_first = true;
  while (!tokens_.skip(")")) {
    if (!is_first) tokens_.expect(",");
    if (tokens_.skip(")")) break;
    is_first = false;
    if (tokens_.now().is("*") || tokens_.now().is("**"))
      tokens_.fail_now("* and ** in arguments are not supported: expected a value");
    if (tokens_.now().kind == TokenKind::name && tokens_.ahead().is("=")) {
      std::string name = tokens_.take().text;
      tokens_.take();
      ExprPtr value = expression();
      call.depth = std::max(call.depth, value->depth + 1);
      call.named.emplace_back(std::move(name), std::move(value));
    } else {
      if (!call.named.empty()) tokens_.fail_now("expected a named argument after a named one");
      add(call, expression());
    }
  }
  if (call.depth > kMostParsedDepth) too_deep();
}

ExprPtr ExpressionParser::filters_and_tests(ExprPtr base) {
  while (true) {
    if (tokens_.now().is("|")) {
      base = filters(std::move(base), false);
    } else if (tokens_.now().is_name("is")) {
      base = test(std::move(base));
    } else if (tokens_.now().is("(")) {
      base = postfix(std::move(base));
    } else {
      return base;
    }
  }
}

ExprPtr ExpressionParser::filters(ExprPtr input, bool inline_first) {
  while (inline_first || tokens_.now().is("|")) {
    if (!inline_first) tokens_.take();
    inline_first = false;
    const Place place = tokens_.now().place;
    ExprPtr out = make(ExprKind::filter, place, tokens_.expect_name());
    add(*out, std::move(input));
    if (tokens_.now().is("(")) arguments(*out);
    input = std::move(out);
  }
  return input;
}

ExprPtr ExpressionParser::test(ExprPtr base) {
  const Place place = tokens_.take().place;
  const bool negated = tokens_.skip_name("not");
  ExprPtr out = make(ExprKind::test, place, tokens_.expect_name());
  add(*out, std::move(base));
  const Token& now = tokens_.now();
  const bool is_word =
      now.kind == TokenKind::name && now.text != "else" && now.text != "or" && now.text != "and";
  if (now.is("(")) {
    arguments(*out);
  } else if (is_word || now.kind == TokenKind::string || now.kind == TokenKind::integer ||
             now.kind == TokenKind::real || now.is("[") || now.is("{")) {
    if (now.is_name("is")) tokens_.fail_now("tests cannot be chained with 'is': expected an operator");
    // As Jinja reads it, `x is defined if y` has an argument: words of statements are taken for one.
    add(*out, postfix(primary()));
  }
  return negated ? joined(ExprKind::not_, place, "", std::move(out), nullptr) : std::move(out);
}

Target ExpressionParser::simple_target(bool with_attributes) {
  Target out;
  out.place = tokens_.now().place;
  if (tokens_.skip("(")) {
    const Nesting nesting(*this);
    out = target(with_attributes);
    tokens_.expect(")");
    return out;
  }
  out.name = tokens_.expect_name();
  if (is_reserved(out.name))
    fail_at(tokens_.name(), out.place, fmt::format("'{}' cannot be assigned to", out.name));
  if (with_attributes && tokens_.skip(".")) {
    out.kind = TargetKind::attribute;
    out.attribute = tokens_.expect_name();
  }
  return out;
}

Target ExpressionParser::target(bool with_attributes) {
  Target first = simple_target(with_attributes);
  if (!tokens_.now().is(",")) return first;
  Target out;
  out.kind = TargetKind::tuple;
  out.place = first.place;
  out.parts.push_back(std::move(first));
  while (tokens_.skip(",") && !ends_tuple() && !tokens_.now().is_name("in") && !tokens_.now().is("=")) {
    out.parts.push_back(simple_target(with_attributes));
  }
  return out;
}

Parameters ExpressionParser::parameters() {
  Parameters out;
  tokens_.expect("(");
  while (!tokens_.skip(")")) {
    if (!out.names.empty()) tokens_.expect(",");
    const Place place = tokens_.now().place;
    out.names.push_back(tokens_.expect_name());
    if (is_reserved(out.names.back()) || std::ranges::count(out.names, out.names.back()) > 1) {
      fail_at(tokens_.name(), place, fmt::format("'{}' cannot be a parameter here", out.names.back()));
    }
    if (tokens_.skip("=")) {
      out.defaults.push_back(expression());
    } else if (!out.defaults.empty()) {
      tokens_.fail_now("a parameter without default follows one with: expected '='");
    }
  }
  return out;
}

}  // namespace trireme::jinja
