// Filters that walk lists.
#include <algorithm>
#include <array>

#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/literals.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/strings.h"
#include "runtime/text/jinja/tests.h"
#include "runtime/text/jinja/text.h"

namespace trireme::jinja {

namespace {

using ListFilter = Value (*)(std::string_view name, const Value& input, const Arguments& arguments,
                             Budget& budget);

Bound bound_to(std::string_view name, const Arguments& arguments, std::span<const std::string_view> names,
               size_t required = 0) {
  return Bound(name, arguments, names, required);
}

/// value["a"]["b"][0] of the path "a.b.0", which may be a number.
Value at_path(const Value& value, const Value& path) {
  if (path.is_integer()) return item(value, path);
  if (!path.is_string()) fail("an attribute is a {}, not a string", type_name(path));
  Value out = value;
  for (const std::string& part : split(path.string(), ".", -1, false)) {
    long long number = 0;
    const bool is_number = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    if (is_number && !parse_integer(part, number)) fail("an attribute is the number {}", part);
    out = is_number ? item(out, int64_t{number}) : item(out, part);
  }
  return out;
}

Value key_for(const Value& value, const Value* path, bool keeps_case) {
  Value key = path != nullptr && !path->is<None>() ? at_path(value, *path) : value;
  if (!keeps_case && key.is_string()) key = lower(key.string());
  return key;
}

Value first_of(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget) {
  bound_to(name, arguments, {});
  if (name == "last" && (input.is_list(ListKind::generator)))
    fail("last is not for a generator; a list of it would work");
  if (input.is_list(ListKind::generator) && input.list().walked < input.list().items.size()) {
    return input.list().items[input.list().walked++];
  }
  const std::vector<Value> items = elements(input, budget);
  if (items.empty()) return undefined(fmt::format("there is no {} element: the list is empty", name));
  return name == "first" ? items.front() : items.back();
}

Value joined(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget) {
  static constexpr std::string_view kNames[] = {"d", "attribute"};
  const Bound a = bound_to(name, arguments, kNames);
  const std::string separator = a[0] != nullptr ? text_of(*a[0], budget) : "";
  std::string out;
  bool is_first = true;
  for (const Value& element : elements(input, budget)) {
    if (!std::exchange(is_first, false)) out += separator;
    out += text_of(a.has(1) ? at_path(element, *a[1]) : element, budget);
    budget.output(std::ssize(out));
  }
  budget.bytes(std::ssize(out));
  return out;
}

Value listed(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget) {
  bound_to(name, arguments, {});
  return make_list(elements(input, budget));
}

Value reversed(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget) {
  bound_to(name, arguments, {});
  if (input.is_list(ListKind::generator)) fail("reverse is not for a generator; a list of it would work");
  std::vector<Value> items = elements(input, budget);
  std::ranges::reverse(items);
  if (!input.is_string()) return make_list(std::move(items), ListKind::generator);
  std::string text;
  for (const Value& item : items) text += item.string();
  return text;
}

Value sorted(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget) {
  static constexpr std::string_view kNames[] = {"reverse", "case_sensitive", "attribute"};
  const Bound a = bound_to(name, arguments, kNames);
  if (a.has(2) && a[2]->is_string() && a[2]->string().find(',') != std::string::npos)
    fail("sort by several attributes is not supported");
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& element : elements(input, budget))
    keyed.emplace_back(key_for(element, a[2], a.flag(1, false)), element);
  const auto less = [&](const auto& x, const auto& y) { return is_less(x.first, y.first, budget); };
  // Python's reverse keeps the order of equals.
  const bool is_reversed = a.flag(0, false);
  if (is_reversed) std::ranges::reverse(keyed);
  std::ranges::stable_sort(keyed, less);
  if (is_reversed) std::ranges::reverse(keyed);
  std::vector<Value> out;
  for (auto& [key, value] : keyed) out.push_back(std::move(value));
  return make_list(std::move(out));
}

Value dict_sorted(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget) {
  static constexpr std::string_view kNames[] = {"case_sensitive", "by", "reverse"};
  const Bound a = bound_to(name, arguments, kNames);
  if (!input.is_dict()) fail("dictsort is not for a {}", type_name(input));
  const std::string by = a.string(1, "key");
  if (by != "key" && by != "value") fail("dictsort is by '{}'; by key and value work", by);
  std::vector<Value> items;
  for (const auto& [key, value] : input.dict().items)
    items.push_back(make_list({key, value}, ListKind::tuple));
  Arguments how;
  how.named = {{"reverse", a.flag(2, false)},
               {"case_sensitive", a.flag(0, false)},
               {"attribute", by == "key" ? 0 : 1}};
  return sorted("dictsort", make_list(std::move(items)), how, budget);
}

Value extreme(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget) {
  static constexpr std::string_view kNames[] = {"case_sensitive", "attribute"};
  const Bound a = bound_to(name, arguments, kNames);
  std::optional<std::pair<Value, Value>> best;
  for (const Value& element : elements(input, budget)) {
    Value key = key_for(element, a[1], a.flag(0, false));
    const bool is_better =
        !best || (name == "min" ? is_less(key, best->first, budget) : is_less(best->first, key, budget));
    if (is_better) best = {std::move(key), element};
  }
  return best ? best->second : undefined(fmt::format("there is no {}: the list is empty", name));
}

Value summed(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget) {
  static constexpr std::string_view kNames[] = {"attribute", "start"};
  const Bound a = bound_to(name, arguments, kNames);
  Value total = a[1] != nullptr ? *a[1] : Value(0);
  if (total.is_string()) fail("sum is not for strings; join is");
  for (const Value& element : elements(input, budget)) {
    total = arithmetic("+", total, a.has(0) ? at_path(element, *a[0]) : element, budget);
  }
  return total;
}

Value without_doubles(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget) {
  static constexpr std::string_view kNames[] = {"case_sensitive", "attribute"};
  const Bound a = bound_to(name, arguments, kNames);
  Dict seen;
  std::vector<Value> out;
  for (const Value& element : elements(input, budget)) {
    const Value key = key_for(element, a[1], a.flag(0, false));
    if (seen.find(key) != nullptr) continue;
    seen.set(key, true);
    out.push_back(element);
  }
  return make_list(std::move(out), ListKind::generator);
}

/// map('filter', ...) and map(attribute='a', default=...).
Value mapped(std::string_view, const Value& input, const Arguments& arguments, Budget& budget) {
  std::vector<Value> out;
  if (!is_true(input)) return make_list({}, ListKind::generator);  // of None too, as Jinja has it
  if (!arguments.values.empty()) {
    if (!arguments.values[0].is_string()) fail("map has a {} for a filter", type_name(arguments.values[0]));
    const std::string& filter = arguments.values[0].string();
    const Arguments rest = arguments.without_first();
    for (const Value& element : elements(input, budget)) {
      const Budget::Level level(budget);
      out.push_back(apply_filter(filter, element, rest, budget));
    }
    return make_list(std::move(out), ListKind::generator);
  }
  static constexpr std::string_view kNames[] = {"attribute", "default"};
  const Bound a("map", arguments, kNames, 1);
  for (const Value& element : elements(input, budget)) {
    Value value = at_path(element, *a[0]);
    out.push_back(value.is<Undefined>() && a.has(1) ? *a[1] : std::move(value));
  }
  return make_list(std::move(out), ListKind::generator);
}

/// select, reject, selectattr, rejectattr.
Value chosen(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget) {
  const bool by_attribute = name.ends_with("attr"), keeps = name.starts_with("select");
  if (by_attribute && arguments.values.empty()) fail("{} needs an attribute", name);
  const Arguments test = by_attribute ? arguments.without_first() : arguments;
  if (!test.values.empty() && !test.values[0].is_string())
    fail("{} has a {} for a test", name, type_name(test.values[0]));
  if (!is_true(input)) return make_list({}, ListKind::generator);
  std::vector<Value> out;
  for (const Value& element : elements(input, budget)) {
    const Value value = by_attribute ? at_path(element, arguments.values[0]) : element;
    const bool passes = test.values.empty()
                            ? is_true(value)
                            : apply_test(test.values[0].string(), value, test.without_first(), budget);
    if (passes == keeps) out.push_back(element);
  }
  return make_list(std::move(out), ListKind::generator);
}

struct ListEntry {
  std::string_view name;
  ListFilter filter;
};

constexpr auto kListFilters = std::to_array<ListEntry>({{"dictsort", dict_sorted},
                                                        {"first", first_of},
                                                        {"join", joined},
                                                        {"last", first_of},
                                                        {"list", listed},
                                                        {"map", mapped},
                                                        {"max", extreme},
                                                        {"min", extreme},
                                                        {"reject", chosen},
                                                        {"rejectattr", chosen},
                                                        {"reverse", reversed},
                                                        {"select", chosen},
                                                        {"selectattr", chosen},
                                                        {"sort", sorted},
                                                        {"sum", summed},
                                                        {"unique", without_doubles}});

}  // namespace

bool has_list_filter(std::string_view name) {
  return std::ranges::find(kListFilters, name, &ListEntry::name) != kListFilters.end();
}

std::optional<Value> apply_list_filter(std::string_view name, const Value& input, const Arguments& arguments,
                                       Budget& budget) {
  const auto entry = std::ranges::find(kListFilters, name, &ListEntry::name);
  if (entry == kListFilters.end()) return std::nullopt;
  return entry->filter(name, input, arguments, budget);
}

}  // namespace trireme::jinja
