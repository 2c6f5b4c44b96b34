#include "runtime/text/jinja/parser.h"

#include "runtime/text/jinja/expression_parser.h"
#include "runtime/text/jinja/names.h"

namespace trireme::jinja {

namespace {

constexpr int kMostStatementDepth = 60;

class StatementParser {
 public:
  StatementParser(std::vector<Token> tokens, const std::string& name)
      : tokens_(std::move(tokens), name), expressions_(tokens_) {}

  Body whole() {
    Body body = statements({});
    if (tokens_.now().kind != TokenKind::end) tokens_.fail_now("expected a statement");
    return body;
  }

 private:
  /// Up to one of these words at the begin of a tag, of which {% was taken.
  Body statements(std::initializer_list<std::string_view> ends) {
    if (++level_ > kMostStatementDepth)
      tokens_.fail_now(
          fmt::format("expected less than {} statements inside each other", kMostStatementDepth));
    Body body;
    while (tokens_.now().kind != TokenKind::end) {
      const Place place = tokens_.now().place;
      if (tokens_.now().kind == TokenKind::data) {
        body.push_back({NodeKind::data, place, tokens_.take().text});
      } else if (tokens_.now().kind == TokenKind::variable_begin) {
        tokens_.take();
        body.push_back({NodeKind::output, place});
        body.back().value = expressions_.tuple();
        tokens_.expect(TokenKind::variable_end, "}}");
      } else {
        tokens_.expect(TokenKind::block_begin, "{%");
        for (const std::string_view end : ends) {
          if (tokens_.now().is_name(end)) return --level_, std::move(body);
        }
        body.push_back(statement(place));
        tokens_.expect(TokenKind::block_end, "%}");
      }
    }
    if (ends.size() > 0) tokens_.fail_now(fmt::format("expected {{% {} %}}", *(ends.end() - 1)));
    --level_;
    return body;
  }

  /// The body of a tag, and its end word, which is taken.
  Body body_until(std::string_view end) {
    tokens_.expect(TokenKind::block_end, "%}");
    Body body = statements({end});
    tokens_.take();
    return body;
  }

  Node statement(Place place) {
    const std::string word = tokens_.expect_name();
    if (word == "if") return branch(place);
    if (word == "for") return loop(place);
    if (word == "set") return assignment(place);
    if (word == "macro") return macro(place);
    if (word == "call") return call(place);
    if (word == "filter") return filter(place);
    if (word == "with") return with(place);
    Node node{NodeKind::generation, place};
    if (word == "generation") {
      node.body = outside_loops("endgeneration");
    } else if (word == "break" || word == "continue") {
      if (loops_ == 0) fail_at(tokens_.name(), place, fmt::format("'{}' outside a loop", word));
      node.kind = word == "break" ? NodeKind::break_loop : NodeKind::continue_loop;
    } else {
      fail_at(tokens_.name(), place, why_no_statement(word));
    }
    return node;
  }

  Node branch(Place place) {
    Node node{NodeKind::branch, place};
    while (true) {
      ExprPtr condition = expressions_.tuple(false);
      tokens_.expect(TokenKind::block_end, "%}");
      node.branches.push_back({std::move(condition), statements({"elif", "else", "endif"})});
      const std::string word = tokens_.take().text;
      if (word == "else") node.branches.push_back({nullptr, body_until("endif")});
      if (word != "elif") return node;
    }
  }

  Node loop(Place place) {
    Node node{NodeKind::loop, place};
    node.target = expressions_.target(false);
    if (!tokens_.skip_name("in")) tokens_.fail_now("expected 'in'");
    node.value = expressions_.tuple(false);
    if (tokens_.skip_name("if")) node.test = expressions_.expression();
    if (tokens_.now().is_name("recursive"))
      tokens_.fail_now("recursive loops are not supported: expected the end of the tag");
    tokens_.expect(TokenKind::block_end, "%}");
    ++loops_;
    node.body = statements({"else", "endfor"});
    --loops_;
    if (tokens_.take().text == "else") node.otherwise = body_until("endfor");
    return node;
  }

  Node assignment(Place place) {
    Node node{NodeKind::assign, place};
    node.target = expressions_.target(true);
    if (tokens_.skip("=")) {
      node.value = expressions_.tuple();
    } else {
      node.kind = NodeKind::assign_block;
      node.value = expressions_.filters(nullptr, false);
      node.body = outside_loops("endset");
    }
    return node;
  }

  /// A body that is a function of its own: loops around it cannot be left from within.
  Body outside_loops(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    Body body = body_until(end);
    loops_ = loops;
    return body;
  }

  Node macro(Place place) {
    Node node{NodeKind::macro, place, tokens_.expect_name()};
    if (is_reserved(node.text))
      fail_at(tokens_.name(), place, fmt::format("a macro cannot have the name '{}'", node.text));
    node.parameters = expressions_.parameters();
    node.body = outside_loops("endmacro");
    return node;
  }

  Node call(Place place) {
    Node node{NodeKind::call_block, place};
    if (tokens_.now().is("(")) node.parameters = expressions_.parameters();
    node.value = expressions_.expression();
    if (node.value->kind != ExprKind::call)
      fail_at(tokens_.name(), node.value->place, "a call block needs the call of a macro");
    node.body = outside_loops("endcall");
    return node;
  }

  Node filter(Place place) {
    Node node{NodeKind::filter_block, place};
    node.value = expressions_.filters(nullptr, true);
    node.body = outside_loops("endfilter");
    return node;
  }

  Node with(Place place) {
    Node node{NodeKind::with, place};
    while (tokens_.now().kind != TokenKind::block_end) {
      if (!node.assignments.empty()) tokens_.expect(",");
      Target target;
      target.place = tokens_.now().place;
      target.name = tokens_.expect_name();
      if (is_reserved(target.name))
        fail_at(tokens_.name(), target.place, fmt::format("'{}' cannot be assigned to", target.name));
      tokens_.expect("=");
      node.assignments.emplace_back(std::move(target), expressions_.expression());
    }
    node.body = body_until("endwith");
    return node;
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int level_ = 0, loops_ = 0;
};

}  // namespace

Body parse_template(std::string_view source, const std::string& name) {
  return StatementParser(tokenize(source, name), name).whole();
}

}  // namespace trireme::jinja
