#include "runtime/text/jinja/filters.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "runtime/text/jinja/literals.h"
#include "runtime/text/jinja/names.h"
#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/strings.h"
#include "runtime/text/jinja/text.h"

namespace trireme::jinja {

namespace {

using Filter = Value (*)(const Value& input, const Bound& arguments, Budget& budget);

void refuse_undefined(const Value& value) {
  if (value.is<Undefined>()) fail("{}", value.undefined_what());
}

Value absolute(const Value& input, const Bound&, Budget&) {
  refuse_undefined(input);
  if (input.is<double>()) return std::fabs(input.real());
  if (!input.is_integer()) fail("abs is not for a {}", type_name(input));
  return input.integer() < 0 ? negative(input) : Value(input.integer());
}

Value defaulted(const Value& input, const Bound& a, Budget&) {
  const bool is_missing = input.is<Undefined>() || (a.flag(1, false) && !is_true(input));
  if (!is_missing) return input;
  return a[0] != nullptr ? *a[0] : Value("");
}

Value indented(const Value& input, const Bound& a, Budget& budget) {
  if (input.is_markup()) fail("indent is not for what 'safe' made");
  const std::string text = text_of(input, budget);
  const bool is_text = a[0] != nullptr && a[0]->is_string();
  const int64_t width = is_text ? 0 : a.integer(0, 4);
  if (width > 1000) fail("indent by {} spaces; at most 1000 work", width);
  const std::string indent =
      is_text ? a[0]->string() : std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  const bool blank = a.flag(2, false);
  std::string out = a.flag(1, false) ? indent : "";
  // As Jinja does: lines of white space alone are not indented, and a line end is added first.
  const std::vector<std::string> lines = split_lines(text + "\n", false);
  budget.bytes(std::ssize(text) + std::ssize(lines) * (std::ssize(indent) + 1));
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += indent;
    out += lines[i];
  }
  return out;
}

/// Python's int(text, base) of digits with a sign and white space around; nothing when it is none.
std::optional<int64_t> parsed_integer(std::string_view text, int64_t base) {
  text = strip(text, std::nullopt, true, true);
  if (text.starts_with('+')) text.remove_prefix(1);
  int64_t number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number, static_cast<int>(base));
  if (result.ec == std::errc::result_out_of_range) fail("the number {} is beyond 63 bits", text);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) {
    if (text.find('_') != std::string_view::npos || base != 10)
      fail("int: '{}' with a base or underscores is not supported", text);
    return std::nullopt;
  }
  return number;
}

std::optional<double> parsed_real(std::string_view text) {
  text = strip(text, std::nullopt, true, true);
  if (text.starts_with('+') && text.size() > 1 && text[1] != '-') text.remove_prefix(1);
  double number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

Value truncated(double number) {
  if (!std::isfinite(number) || std::fabs(number) >= 9.2e18)
    fail("the number {} is no whole number below 2^63", real_text(number));
  return static_cast<int64_t>(number);
}

Value as_integer(const Value& input, const Bound& a, Budget&) {
  refuse_undefined(input);
  const int64_t base = a.integer(1, 10);
  if (base < 2 || base > 36) fail("int has the base {}", base);
  if (input.is_integer()) return input.integer();
  if (input.is<double>()) return truncated(input.real());
  if (input.is_string()) {
    if (const auto number = parsed_integer(input.string(), base)) return *number;
    if (const auto number = parsed_real(input.string())) return truncated(*number);
  }
  return a[0] != nullptr ? *a[0] : Value(0);
}

Value as_real(const Value& input, const Bound& a, Budget&) {
  refuse_undefined(input);
  if (input.is_number()) return input.real();
  if (input.is_string()) {
    if (const auto number = parsed_real(input.string())) return *number;
  }
  return a[0] != nullptr ? *a[0] : Value(0.0);
}

/// Correctly rounded to `digits` after the point, half to even.
double rounded_real(double value, int64_t digits) {
  if (digits == 0) return std::nearbyint(value);
  if (digits < 0 || digits > 300) fail("round to {} digits is not supported; 0 to 300 are", digits);
  std::array<char, 700> buffer;
  const int length = std::snprintf(buffer.data(), buffer.size(), "%.*f", static_cast<int>(digits), value);
  double out = value;
  std::from_chars(buffer.data(), buffer.data() + length, out);
  return out;
}

Value rounded_value(const Value& input, const Bound& a, Budget&) {
  refuse_undefined(input);
  if (!input.is_number()) fail("round is not for a {}", type_name(input));
  const int64_t digits = a.integer(0, 0);
  const std::string method = a.string(1, "common");
  if (method == "common") {
    if (input.is_integer() && digits >= 0) return input.integer();
    return rounded_real(input.real(), digits);
  }
  if (method != "ceil" && method != "floor")
    fail("round has the method '{}'; common, ceil and floor work", method);
  if (digits < 0 || digits > 300) fail("round to {} digits is not supported; 0 to 300 are", digits);
  const double factor = std::pow(10.0, static_cast<double>(digits)), scaled = input.real() * factor;
  return (method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / factor;
}

Value replaced(const Value& input, const Bound& a, Budget& budget) {
  const std::string text = text_of(input, budget), from = text_of(*a[0], budget), to = text_of(*a[1], budget);
  budget.bytes(std::ssize(text) +
               (from.empty() ? length_of(text) + 1 : times_in(text, from)) * (std::ssize(to) + 1));
  return replace(text, from, to, a.has(2) ? a.integer(2, -1) : -1);
}

Value as_json(const Value& input, const Bound& a, Budget& budget) {
  JsonStyle style;
  style.ascii = a.flag(0, false);
  style.sort_keys = a.flag(3, false);
  if (a.has(1)) {
    if (a[1]->is_integer() && (a[1]->integer() < 0 || a[1]->integer() > 1000))
      fail("tojson has the indent {}", a[1]->integer());
    style.indent =
        a[1]->is_string() ? a[1]->string() : std::string(static_cast<size_t>(a.integer(1, 0)), ' ');
  }
  if (a.has(2)) {
    const Value& pair = *a[2];
    if (!pair.is_list() || pair.list().items.size() != 2 || !pair.list().items[0].is_string() ||
        !pair.list().items[1].is_string()) {
      fail("tojson: separators must be two strings");
    }
    style.separators = std::pair(pair.list().items[0].string(), pair.list().items[1].string());
  }
  return json_of(input, style, budget);
}

Value items_of(const Value& input, const Bound&, Budget& budget) {
  std::vector<Value> out;
  if (!input.is<Undefined>() && !input.is_dict()) fail("items is not for a {}", type_name(input));
  if (input.is_dict()) {
    budget.step(std::ssize(input.dict().items));
    for (const auto& [key, value] : input.dict().items)
      out.push_back(make_list({key, value}, ListKind::tuple));
  }
  return make_list(std::move(out), ListKind::generator);
}

template <std::string (*map)(std::string_view)>
Value mapped_text(const Value& input, const Bound&, Budget& budget) {
  const std::string text = text_of(input, budget);
  budget.bytes(std::ssize(text));
  // Jinja's "title" joins parts, which are no markup any more.
  return Text{map(text), input.is_markup() && map != title_of_words};
}

Value trimmed(const Value& input, const Bound& a, Budget& budget) {
  const std::string text = text_of(input, budget);
  budget.bytes(std::ssize(text));
  std::optional<std::string> characters;
  if (a.has(0)) characters = a.string(0, "");
  return Text{std::string(strip(text, characters, true, true)), input.is_markup()};
}

Value as_text(const Value& input, const Bound&, Budget& budget) {
  return Text{text_of(input, budget), input.is_markup()};
}
Value as_markup(const Value& input, const Bound&, Budget& budget) {
  return Text{text_of(input, budget), true};
}
Value number_of(const Value& input, const Bound&, Budget&) { return length(input); }

struct Entry {
  std::string_view name;
  std::array<std::string_view, 4> parameters;
  size_t required;
  Filter filter;
};

constexpr auto kFilters = std::to_array<Entry>({
    {"abs", {}, 0, absolute},
    {"capitalize", {}, 0, mapped_text<capitalize>},
    {"count", {}, 0, number_of},
    {"d", {"default_value", "boolean"}, 0, defaulted},
    {"default", {"default_value", "boolean"}, 0, defaulted},
    {"float", {"default"}, 0, as_real},
    {"indent", {"width", "first", "blank"}, 0, indented},
    {"int", {"default", "base"}, 0, as_integer},
    {"items", {}, 0, items_of},
    {"length", {}, 0, number_of},
    {"lower", {}, 0, mapped_text<lower>},
    {"replace", {"old", "new", "count"}, 2, replaced},
    {"round", {"precision", "method"}, 0, rounded_value},
    {"safe", {}, 0, as_markup},
    {"string", {}, 0, as_text},
    {"title", {}, 0, mapped_text<title_of_words>},
    {"tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, as_json},
    {"trim", {"chars"}, 0, trimmed},
    {"upper", {}, 0, mapped_text<upper>},
});

}  // namespace

bool has_filter(std::string_view name) {
  return name == "format" || has_list_filter(name) ||
         std::ranges::find(kFilters, name, &Entry::name) != kFilters.end();
}

Value apply_filter(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget) {
  if (auto value = apply_list_filter(name, input, arguments, budget)) return *value;
  if (name == "format") {
    if (!arguments.named.empty()) fail("format with named arguments is not supported");
    return formatted(text_of(input, budget), arguments.values, budget);
  }
  const auto entry = std::ranges::find(kFilters, name, &Entry::name);
  if (entry == kFilters.end()) fail("{}", why_no_filter(name));
  const auto end = std::ranges::find(entry->parameters, std::string_view());
  const Bound bound(name, arguments, {entry->parameters.begin(), end}, entry->required);
  return entry->filter(input, bound, budget);
}

}  // namespace trireme::jinja
