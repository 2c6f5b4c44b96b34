#include <algorithm>
#include <array>

#include "runtime/base/error.h"
#include "runtime/text/jinja/evaluator.h"
#include "runtime/text/jinja/methods.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/text.h"

namespace trireme::jinja {

namespace {

constexpr int64_t kMostRange = 100'000;  // as Jinja's sandbox

Value range_of(const Arguments& arguments, Budget& budget) {
  static constexpr std::string_view kNames[] = {"start", "stop", "step"};
  if (!arguments.named.empty()) fail("range() takes no named arguments");
  const Bound a("range()", arguments, kNames, 1);
  const bool has_stop = a[1] != nullptr;
  const int64_t begin = has_stop ? a.integer(0, 0) : 0, end = has_stop ? a.integer(1, 0) : a.integer(0, 0);
  const int64_t step = a.integer(2, 1);
  if (step == 0) fail("the step of a range is 0");
  std::vector<Value> out;
  for (int64_t at = begin; step > 0 ? at < end : at > end;) {
    out.emplace_back(at);
    if (std::ssize(out) > kMostRange) fail("a range has more than {} elements", kMostRange);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  budget.bytes(std::ssize(out) * 32);
  return make_list(std::move(out), ListKind::range);
}

Value dict_of(const Arguments& arguments, Budget& budget) {
  if (arguments.values.size() > 1) fail("dict() takes one value at most");
  Dict dict;
  if (!arguments.values.empty()) {
    const Value& from = arguments.values[0];
    if (from.is_dict()) {
      dict.items = from.dict().items;
      dict.places = from.dict().places;
    } else {
      for (const Value& pair : elements(from, budget)) {
        const std::vector<Value> both = elements(pair, budget);
        if (both.size() != 2) fail("dict() is given {} values for a key and its value", both.size());
        dict.set(both[0], both[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) dict.set(name, value);
  budget.bytes(std::ssize(dict.items) * 100);
  return dict;
}

void check_attribute(const std::string& name) {
  if (name.starts_with('_')) fail("the attribute '{}' of a namespace begins with _", name);
}

std::string formatted_time(const std::string& format, const std::tm& now) {
  if (format.empty()) return {};
  if (format.size() > 1000) fail("strftime_now has a format of {} bytes", format.size());
  // The C library knows no "%f"; what it leaves out is not told from what is empty.
  std::string out(format.size() * 32 + 64, '\0');
  out.resize(std::strftime(out.data(), out.size(), format.c_str(), &now));
  return out;
}

}  // namespace

Value Evaluator::call_value(const Expr& expr, Scope& scope, const Macro* caller) {
  const Expr& callee = *expr.parts[0];
  const bool is_method = callee.kind == ExprKind::attribute;
  if (is_method && callee.parts[0]->kind == ExprKind::name && callee.parts[0]->text == "loop") {
    return call_loop_method(callee.text, arguments_of(expr, 1, scope), scope);
  }
  const Value function = value_of(callee, scope);
  return call(function, arguments_of(expr, 1, scope), caller);
}

Value Evaluator::call(const Value& callee, const Arguments& arguments, const Macro* caller) {
  if (callee.is<const Macro*>()) return call_macro(callee.macro(), arguments, caller);
  if (callee.is<std::shared_ptr<const Method>>()) {
    return call_method(*callee.method().self, callee.method().name, arguments, budget_);
  }
  if (callee.is<std::shared_ptr<const Function>>()) return call_function(callee.function().name, arguments);
  if (callee.is<Undefined>()) fail("{}", callee.undefined_what());
  fail("a {} is called", type_name(callee));
}

Value Evaluator::call_macro(const Macro& macro, const Arguments& arguments, const Macro* caller) {
  const Parameters& parameters = *macro.parameters;
  const std::vector<std::string_view> names(parameters.names.begin(), parameters.names.end());
  const Bound bound("the macro '" + macro.name + "'", arguments, names, 0);
  auto inner = std::make_unique<Scope>();
  inner->parent = macro.scope;
  if (caller != nullptr) inner->set("caller", caller);
  const size_t first_default = names.size() - parameters.defaults.size();
  for (size_t i = 0; i < names.size(); ++i) {
    Value value = bound[i] != nullptr  ? *bound[i]
                  : i >= first_default ? value_of(*parameters.defaults[i - first_default], *inner)
                                       : undefined(fmt::format("the parameter '{}' was not given", names[i]));
    inner->set(parameters.names[i], std::move(value));
  }
  const std::string text = text_from(*macro.body, *inner);
  release(std::move(inner));
  return text;
}

Value Evaluator::call_function(const std::string& name, const Arguments& arguments) {
  if (name == "range") return range_of(arguments, budget_);
  const Value given = name == "dict" || name == "namespace" ? dict_of(arguments, budget_) : Value();
  if (name == "dict") return given;
  if (name == "namespace") {
    spaces_.push_back(std::make_unique<Namespace>());
    budget_.bytes(200);
    for (const auto& [key, value] : given.dict().items) check_attribute(text_of(key, budget_));
    for (const auto& [key, value] : given.dict().items) spaces_.back()->set(text_of(key, budget_), value);
    return spaces_.back().get();
  }
  static constexpr std::string_view kMessage[] = {"message"}, kFormat[] = {"format"};
  if (name == "strftime_now") {
    return formatted_time(Bound("strftime_now()", arguments, kFormat, 1).string(0, ""), now_);
  }
  const Bound bound("raise_exception()", arguments, kMessage, 1);
  fail("the template refuses these messages: {}", text_of(*bound[0], budget_));
}

Value Evaluator::call_loop_method(const std::string& name, const Arguments& arguments, const Scope& scope) {
  const Scope* around = &scope;
  while (around != nullptr && around->loop == nullptr) around = around->parent;
  if (around == nullptr) fail("'loop' is undefined outside loops");
  LoopState& loop = *around->loop;
  if (!arguments.named.empty()) fail("loop.{}() takes no named arguments", name);
  if (name == "cycle") {
    if (arguments.values.empty()) fail("loop.cycle() needs values");
    return arguments.values[loop.index % arguments.values.size()];
  }
  if (name != "changed") fail("there is no method loop.{}()", name);
  const bool same = loop.has_changed && std::ranges::equal(loop.last_changed, arguments.values,
                                                           [&](const Value& a, const Value& b) {
                                                             return are_equal(a, b, budget_);
                                                           });
  loop.last_changed = arguments.values;
  loop.has_changed = true;
  return !same;
}

}  // namespace trireme::jinja
