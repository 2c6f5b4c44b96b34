#include "runtime/text/jinja/tests.h"

#include <algorithm>
#include <array>

#include "runtime/text/jinja/evaluator.h"
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/names.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/strings.h"
#include "runtime/text/jinja/text.h"

namespace trireme::jinja {

namespace {

using Test = bool (*)(const Value& value);

bool is_defined(const Value& value) { return !value.is<Undefined>(); }
bool is_undefined(const Value& value) { return value.is<Undefined>(); }
bool is_none(const Value& value) { return value.is<None>(); }
bool is_flag(const Value& value) { return value.is<bool>(); }
bool is_exactly_true(const Value& value) { return value.is<bool>() && value.flag(); }
bool is_exactly_false(const Value& value) { return value.is<bool>() && !value.flag(); }
bool is_whole(const Value& value) { return value.is<int64_t>(); }
bool is_real(const Value& value) { return value.is<double>(); }
bool is_any_number(const Value& value) { return value.is_number(); }
bool is_text(const Value& value) { return value.is_string(); }
bool is_mapping(const Value& value) { return value.is_dict(); }
bool is_function(const Value& value) { return value.is_callable(); }
bool is_iterable(const Value& value) {
  return value.is_string() || value.is_dict() || value.is_list() || value.is<Undefined>();
}
bool is_sequence_like(const Value& value) {
  return is_iterable(value) && !value.is_list(ListKind::generator) && !value.is_list(ListKind::view);
}

/// Whether text has letters, and all of them of this case.
template <std::string (*map)(std::string_view), std::string (*other)(std::string_view)>
bool is_of_case(const Value& value) {
  if (!value.is_string()) fail("the case of a {} is not supported", type_name(value));
  const std::string& text = value.string();
  return map(text) == text && other(text) != text;
}

int64_t whole(const Value& value) {
  if (!value.is_integer()) fail("a {} is no whole number", type_name(value));
  return value.integer();
}
bool is_odd(const Value& value) { return whole(value) % 2 != 0; }
bool is_even(const Value& value) { return whole(value) % 2 == 0; }
bool names_filter(const Value& value) { return value.is_string() && has_filter(value.string()); }
bool names_test(const Value& value) { return value.is_string() && has_test(value.string()); }

constexpr auto kTests =
    std::to_array<std::pair<std::string_view, Test>>({{"boolean", is_flag},
                                                      {"callable", is_function},
                                                      {"defined", is_defined},
                                                      {"even", is_even},
                                                      {"false", is_exactly_false},
                                                      {"filter", names_filter},
                                                      {"float", is_real},
                                                      {"integer", is_whole},
                                                      {"iterable", is_iterable},
                                                      {"lower", is_of_case<lower, upper>},
                                                      {"mapping", is_mapping},
                                                      {"none", is_none},
                                                      {"number", is_any_number},
                                                      {"odd", is_odd},
                                                      {"sequence", is_sequence_like},
                                                      {"string", is_text},
                                                      {"test", names_test},
                                                      {"true", is_exactly_true},
                                                      {"undefined", is_undefined},
                                                      {"upper", is_of_case<upper, lower>}});

/// Names of tests with one argument, and the operators that they are.
constexpr auto kComparisonTests =
    std::to_array<std::pair<std::string_view, std::string_view>>({{"==", "=="},
                                                                  {"eq", "=="},
                                                                  {"equalto", "=="},
                                                                  {"!=", "!="},
                                                                  {"ne", "!="},
                                                                  {"<", "<"},
                                                                  {"lt", "<"},
                                                                  {"lessthan", "<"},
                                                                  {"<=", "<="},
                                                                  {"le", "<="},
                                                                  {">", ">"},
                                                                  {"gt", ">"},
                                                                  {"greaterthan", ">"},
                                                                  {">=", ">="},
                                                                  {"ge", ">="},
                                                                  {"in", "in"},
                                                                  {"sameas", "sameas"},
                                                                  {"divisibleby", "divisibleby"}});

template <class Table>
auto find_in(const Table& table, std::string_view name) {
  return std::ranges::find(table, name, [](const auto& entry) { return entry.first; });
}

}  // namespace

bool has_test(std::string_view name) {
  return find_in(kTests, name) != kTests.end() || find_in(kComparisonTests, name) != kComparisonTests.end();
}

bool apply_test(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget) {
  if (const auto found = find_in(kTests, name); found != kTests.end()) {
    if (!arguments.values.empty() || !arguments.named.empty()) fail("the test '{}' takes no arguments", name);
    return found->second(input);
  }
  const auto found = find_in(kComparisonTests, name);
  if (found == kComparisonTests.end()) fail("{}", why_no_test(name));
  if (arguments.values.size() != 1 || !arguments.named.empty())
    fail("the test '{}' takes one argument", name);
  const Value& other = arguments.values[0];
  if (found->second == "sameas") return input.is_same(other);
  if (found->second == "divisibleby")
    return is_true(compare("==", arithmetic("%", input, other, budget), 0, budget));
  return compare(found->second, input, other, budget);
}

}  // namespace trireme::jinja
