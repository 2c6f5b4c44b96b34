#include "runtime/text/jinja/operators.h"

#include <algorithm>
#include <cmath>

#include "runtime/text/jinja/evaluator.h"
#include "runtime/text/jinja/names.h"
#include "runtime/text/jinja/strings.h"
#include "runtime/text/jinja/text.h"

namespace trireme::jinja {

namespace {

bool are_dicts_equal(const Dict& a, const Dict& b, Budget& budget) {
  return a.items.size() == b.items.size() && std::ranges::all_of(a.items, [&](const auto& pair) {
           const Value* other = b.find(pair.first);
           return other != nullptr && are_equal(pair.second, *other, budget);
         });
}

/// Exact also where a whole number has more digits than a double.
int compare_numbers(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer())
    return a.integer() < b.integer() ? -1 : a.integer() > b.integer() ? 1 : 0;
  const auto x = static_cast<long double>(a.is_integer() ? static_cast<long double>(a.integer()) : a.real());
  const auto y = static_cast<long double>(b.is_integer() ? static_cast<long double>(b.integer()) : b.real());
  return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
}

bool is_sequence(const Value& value) {
  return value.is_list(ListKind::list) || value.is_list(ListKind::tuple);
}

Value method_or_undefined(std::string_view name, const Value& base, const std::string& attribute_name) {
  if (is_method_of(name, attribute_name)) return Method{std::make_shared<const Value>(base), attribute_name};
  return undefined(fmt::format("'{} object' has no attribute '{}'", name, attribute_name));
}

}  // namespace

bool is_true(const Value& value) {
  if (value.is<Undefined>() || value.is<None>()) return false;
  if (value.is_integer()) return value.integer() != 0;
  if (value.is<double>()) return value.real() != 0;
  if (value.is_string()) return !value.string().empty();
  if (value.is_list()) return value.list().kind == ListKind::generator || !value.list().items.empty();
  return !value.is_dict() || !value.dict().items.empty();
}

bool are_equal(const Value& a, const Value& b, Budget& budget) {
  budget.step();
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.is_string() && b.is_string()) return a.string() == b.string();
  if (a.is<Undefined>() && b.is<Undefined>()) return true;
  if (a.is_dict() && b.is_dict()) return are_dicts_equal(a.dict(), b.dict(), budget);
  if (a.is_list() && b.is_list() && a.list().kind <= ListKind::range) {
    return a.list().kind == b.list().kind &&
           std::ranges::equal(a.list().items, b.list().items,
                              [&](const Value& x, const Value& y) { return are_equal(x, y, budget); });
  }
  if (a.is_list(ListKind::view) && b.is_list(ListKind::view))
    fail("views of dicts are compared; lists of them would work");
  return a.is_same(b);
}

bool is_less(const Value& a, const Value& b, Budget& budget) {
  budget.step();
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == -1;
  if (a.is_string() && b.is_string()) return a.string() < b.string();
  if (is_sequence(a) && is_sequence(b) && a.list().kind == b.list().kind) {
    const auto& x = a.list().items;
    const auto& y = b.list().items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!are_equal(x[i], y[i], budget)) return is_less(x[i], y[i], budget);
    }
    return x.size() < y.size();
  }
  for (const Value* value : {&a, &b}) {
    if (value->is<Undefined>()) fail("{}", value->undefined_what());
  }
  fail("a {} and a {} have no order", type_name(a), type_name(b));
}

bool contains(const Value& container, const Value& item, Budget& budget) {
  if (container.is_string()) {
    if (!item.is_string()) fail("'in' asks for a {} in a string", type_name(item));
    budget.step(std::ssize(container.string()) / 64);
    return container.string().find(item.string()) != std::string::npos;
  }
  if (container.is_dict()) return container.dict().find(item) != nullptr;
  if (container.is_list(ListKind::generator)) {
    const List& list = container.list();
    while (list.walked < list.items.size()) {
      if (are_equal(list.items[list.walked++], item, budget)) return true;
    }
    return false;
  }
  return std::ranges::any_of(elements(container, budget),
                             [&](const Value& held) { return are_equal(held, item, budget); });
}

bool compare(std::string_view op, const Value& a, const Value& b, Budget& budget) {
  if (op == "==") return are_equal(a, b, budget);
  if (op == "!=") return !are_equal(a, b, budget);
  if (op == "in") return contains(b, a, budget);
  if (op == "not_in") return !contains(b, a, budget);
  if (a.is_number() && b.is_number()) {
    const int order = compare_numbers(a, b);
    if (order == 2) return false;
    return op == "<" ? order < 0 : op == "<=" ? order <= 0 : op == ">" ? order > 0 : order >= 0;
  }
  if (op == "<") return is_less(a, b, budget);
  if (op == ">") return is_less(b, a, budget);
  return op == "<=" ? !is_less(b, a, budget) : !is_less(a, b, budget);
}

int64_t length(const Value& value) {
  if (value.is_string()) return length_of(value.string());
  if (value.is_dict()) return std::ssize(value.dict().items);
  if (value.is<Undefined>()) return 0;
  if (value.is_list() && value.list().kind != ListKind::generator) return std::ssize(value.list().items);
  fail("a {} has no length", type_name(value));
}

std::vector<Value> elements(const Value& value, Budget& budget) {
  std::vector<Value> out;
  if (value.is_list()) {
    const List& list = value.list();
    budget.step(std::ssize(list.items));
    if (list.kind != ListKind::generator) return list.items;
    const size_t from = std::exchange(list.walked, list.items.size());
    return {list.items.begin() + static_cast<std::ptrdiff_t>(from), list.items.end()};
  }
  if (value.is_dict()) {
    for (const auto& [key, held] : value.dict().items) out.push_back(key);
  } else if (value.is_string()) {
    const std::string& text = value.string();
    budget.bytes(std::ssize(text) * 32);
    for (size_t at = 0; at < text.size();) {
      const size_t next = at + byte_of(std::string_view(text).substr(at), 1);
      out.emplace_back(text.substr(at, next - at));
      at = next;
    }
  } else if (!value.is<Undefined>()) {
    fail("a {} cannot be walked", type_name(value));
  }
  budget.step(std::ssize(out));
  return out;
}

Value attribute(const Value& base, const std::string& name) {
  if (base.is<Undefined>()) fail("{}", base.undefined_what());
  if (name.starts_with("__")) fail("attributes that begin with __ are not supported");
  if (base.is<Namespace*>()) {
    const Value* found = base.space().find(name);
    return found != nullptr ? *found : undefined(fmt::format("the namespace has no attribute '{}'", name));
  }
  if (base.is_dict() && !is_method_of("dict", name)) {
    const Value* found = base.dict().find(std::string_view(name));
    return found != nullptr ? *found : undefined(fmt::format("the dict has no attribute '{}'", name));
  }
  return method_or_undefined(type_name(base), base, name);
}

Value item(const Value& base, const Value& index) {
  if (base.is<Undefined>()) fail("{}", base.undefined_what());
  if (base.is_dict()) {
    const bool is_hashable = !index.is_list(ListKind::list) && !index.is_dict() && !index.is<Undefined>();
    const Value* found = is_hashable ? base.dict().find(index) : nullptr;
    if (found != nullptr) return *found;
  } else if (index.is_integer() &&
             (base.is_string() || (base.is_list() && base.list().kind <= ListKind::range))) {
    const int64_t size = length(base), at = index.integer() < 0 ? index.integer() + size : index.integer();
    if (at < 0 || at >= size)
      return undefined(
          fmt::format("the {} of length {} has no element {}", type_name(base), size, index.integer()));
    if (base.is_list()) return base.list().items[static_cast<size_t>(at)];
    const std::string& text = base.string();
    const size_t begin = byte_of(text, at), end = begin + byte_of(std::string_view(text).substr(begin), 1);
    return Text{text.substr(begin, end - begin), base.is_markup()};
  }
  if (index.is_string()) return attribute(base, index.string());
  return undefined(fmt::format("the {} has no such element", type_name(base)));
}

}  // namespace trireme::jinja
