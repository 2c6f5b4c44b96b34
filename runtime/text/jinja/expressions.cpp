#include <algorithm>
#include <array>

#include "runtime/text/jinja/evaluator.h"
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/tests.h"
#include "runtime/text/jinja/text.h"

namespace trireme::jinja {

namespace {

bool is_loop(const Expr& expr) { return expr.kind == ExprKind::name && expr.text == "loop"; }

std::optional<int64_t> bound_of(const Value& value) {
  if (value.is<None>()) return std::nullopt;
  if (!value.is_integer()) fail("a bound of a slice is a {}, not a whole number", type_name(value));
  return value.integer();
}

}  // namespace

Value Evaluator::value_of(const Expr& expr, Scope& scope) {
  try {
    const Budget::Level level(budget_);
    budget_.step();
    return value_at(expr, scope);
  } catch (const TemplateError& error) {
    fail_at(name_, expr.place, error.what());
  }
}

Value Evaluator::value_at(const Expr& expr, Scope& scope) {
  const auto part = [&](size_t i) { return value_of(*expr.parts[i], scope); };
  switch (expr.kind) {
    case ExprKind::constant:
      return expr.value;
    case ExprKind::name:
      return named(expr.text, scope);
    case ExprKind::list:
    case ExprKind::tuple:
      return list_value(expr, scope);
    case ExprKind::dict:
      return dict_value(expr, scope);
    case ExprKind::attribute:
      return attribute_value(expr, scope);
    case ExprKind::item:
      if (is_loop(*expr.parts[0])) {
        const Value name = part(1);
        if (!name.is_string()) fail("an attribute of loop is a {}", type_name(name));
        return loop_attribute(name.string(), scope);
      }
      return item(part(0), part(1));
    case ExprKind::slice:
      return slice_value(expr, scope);
    case ExprKind::call:
      return call_value(expr, scope, nullptr);
    case ExprKind::filter: {
      const Value input = part(0);
      return apply_filter(expr.text, input, arguments_of(expr, 1, scope), budget_);
    }
    case ExprKind::test: {
      const Value input = part(0);
      return apply_test(expr.text, input, arguments_of(expr, 1, scope), budget_);
    }
    case ExprKind::negate:
      return negative(part(0));
    case ExprKind::plus: {
      const Value value = part(0);
      return value.is<double>() ? value : negative(negative(value));
    }
    case ExprKind::not_:
      return !is_true(part(0));
    case ExprKind::and_: {
      Value left = part(0);
      return is_true(left) ? part(1) : left;
    }
    case ExprKind::or_: {
      Value left = part(0);
      return is_true(left) ? left : part(1);
    }
    case ExprKind::compare:
      return comparison_value(expr, scope);
    case ExprKind::arithmetic: {
      const Value left = part(0);
      return arithmetic(expr.text, left, part(1), budget_);
    }
    case ExprKind::concatenate: {
      std::string text;
      for (size_t i = 0; i < expr.parts.size(); ++i) text += text_of(part(i), budget_);
      budget_.bytes(std::ssize(text));
      return text;
    }
    case ExprKind::conditional:
      if (is_true(part(0))) return part(1);
      return expr.parts[2] != nullptr ? part(2) : undefined("an inline if without else was false");
  }
  return {};
}

Value Evaluator::named(const std::string& name, const Scope& scope) const {
  if (const Value* found = scope.find(name)) return *found;
  constexpr std::array<std::string_view, 5> kFunctions = {"range", "dict", "namespace", "raise_exception",
                                                          "strftime_now"};
  if (std::ranges::find(kFunctions, name) != kFunctions.end()) return Function{name};
  for (const std::string_view other : {"lipsum", "cycler", "joiner"}) {
    if (name == other) fail("the function '{}' of Jinja is not supported", name);
  }
  if (name == "loop") {
    for (const Scope* around = &scope; around != nullptr; around = around->parent) {
      if (around->loop != nullptr) return true;  // asked for by `is` alone
    }
  }
  return undefined(fmt::format("'{}' is undefined", name));
}

Value Evaluator::list_value(const Expr& expr, Scope& scope) {
  std::vector<Value> items;
  for (const ExprPtr& part : expr.parts) items.push_back(value_of(*part, scope));
  budget_.bytes(std::ssize(items) * 32);
  return make_list(std::move(items), expr.kind == ExprKind::list ? ListKind::list : ListKind::tuple);
}

Value Evaluator::dict_value(const Expr& expr, Scope& scope) {
  Dict dict;
  for (size_t i = 0; i < expr.parts.size(); i += 2) {
    Value key = value_of(*expr.parts[i], scope);
    dict.set(std::move(key), value_of(*expr.parts[i + 1], scope));
    budget_.bytes(100);
  }
  return dict;
}

Value Evaluator::slice_value(const Expr& expr, Scope& scope) {
  const Value base = value_of(*expr.parts[0], scope);
  std::array<std::optional<int64_t>, 3> bounds;
  for (size_t i = 0; i < 3; ++i) {
    if (expr.parts[i + 1] != nullptr) bounds[i] = bound_of(value_of(*expr.parts[i + 1], scope));
  }
  return slice(base, bounds[0], bounds[1], bounds[2], budget_);
}

bool Evaluator::comparison_value(const Expr& expr, Scope& scope) {
  Value left = value_of(*expr.parts[0], scope);
  std::string_view ops = expr.text;
  for (size_t i = 1; i < expr.parts.size(); ++i) {
    const std::string_view op = ops.substr(0, ops.find(' '));
    ops.remove_prefix(std::min(ops.size(), op.size() + 1));
    Value right = value_of(*expr.parts[i], scope);
    if (!compare(op, left, right, budget_)) return false;
    left = std::move(right);
  }
  return true;
}

Value Evaluator::attribute_value(const Expr& expr, Scope& scope) {
  if (is_loop(*expr.parts[0])) return loop_attribute(expr.text, scope);
  return attribute(value_of(*expr.parts[0], scope), expr.text);
}

Value Evaluator::loop_attribute(const std::string& name, const Scope& scope) const {
  const Scope* around = &scope;
  while (around != nullptr && around->loop == nullptr) around = around->parent;
  if (around == nullptr) fail("'loop' is undefined outside loops");
  const LoopState& loop = *around->loop;
  const auto index = static_cast<int64_t>(loop.index), size = std::ssize(*loop.items);
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "revindex") return size - index;
  if (name == "revindex0") return size - index - 1;
  if (name == "first") return index == 0;
  if (name == "last") return index + 1 == size;
  if (name == "length") return size;
  if (name == "depth" || name == "depth0") return name == "depth" ? 1 : 0;  // of recursive loops
  if (name == "previtem")
    return index > 0 ? (*loop.items)[loop.index - 1] : undefined("there is no previous item");
  if (name == "nextitem")
    return index + 1 < size ? (*loop.items)[loop.index + 1] : undefined("there is no next item");
  if (name == "cycle" || name == "changed") fail("loop.{} is called only", name);
  return undefined(fmt::format("'loop' has no attribute '{}'", name));
}

Value Evaluator::block_filter_value(const Expr& expr, const Value& text, Scope& scope) {
  const Value before = expr.parts[0] != nullptr ? block_filter_value(*expr.parts[0], text, scope) : text;
  return apply_filter(expr.text, before, arguments_of(expr, 1, scope), budget_);
}

Arguments Evaluator::arguments_of(const Expr& expr, size_t first, Scope& scope) {
  Arguments out;
  for (size_t i = first; i < expr.parts.size(); ++i) out.values.push_back(value_of(*expr.parts[i], scope));
  for (const auto& [name, value] : expr.named) out.named.emplace_back(name, value_of(*value, scope));
  return out;
}

}  // namespace trireme::jinja
