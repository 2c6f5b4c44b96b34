#include <algorithm>
#include <cmath>

#include "runtime/text/jinja/operators.h"

namespace trireme::jinja {

namespace {

int64_t floor_divided(int64_t a, int64_t b) {
  if (b == 0) fail("division by zero");
  if (b == -1) {
    int64_t out = 0;
    if (__builtin_sub_overflow(int64_t{0}, a, &out)) fail("a number is beyond 63 bits");
    return out;
  }
  return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

int64_t modulo(int64_t a, int64_t b) {
  if (b == 0) fail("division by zero");
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

int64_t raised(int64_t base, int64_t exponent) {
  int64_t out = 1;
  for (bool fits = true; exponent > 0; exponent >>= 1) {
    if (exponent & 1) fits = !__builtin_mul_overflow(out, base, &out);
    if (exponent > 1) fits = !__builtin_mul_overflow(base, base, &base) && fits;
    if (!fits) fail("a number is beyond 63 bits");
  }
  return out;
}

Value whole_arithmetic(std::string_view op, int64_t a, int64_t b) {
  int64_t out = 0;
  bool overflows = false;
  if (op == "+") {
    overflows = __builtin_add_overflow(a, b, &out);
  } else if (op == "-") {
    overflows = __builtin_sub_overflow(a, b, &out);
  } else if (op == "*") {
    overflows = __builtin_mul_overflow(a, b, &out);
  } else if (op == "//") {
    return floor_divided(a, b);
  } else if (op == "%") {
    return modulo(a, b);
  } else if (op == "/") {
    if (b == 0) fail("division by zero");
    return static_cast<double>(a) / static_cast<double>(b);
  } else if (b < 0) {
    if (a == 0) fail("zero to a negative power");
    return std::pow(static_cast<double>(a), static_cast<double>(b));
  } else {
    return raised(a, b);
  }
  if (overflows) fail("a number is beyond 63 bits");
  return out;
}

Value real_arithmetic(std::string_view op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (op == "**") {
    const double out = std::pow(a, b);
    if (!std::isfinite(out) || std::isnan(out)) fail("a power is no finite number");
    return out;
  }
  if (b == 0) fail("division by zero");
  if (op == "/") return a / b;
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  if (op == "%") return rest != 0 ? rest : std::copysign(0.0, b);
  return std::floor((a - rest) / b + 0.5);
}

Value repeated(const Value& value, int64_t times, Budget& budget) {
  times = std::max<int64_t>(times, 0);
  const int64_t size =
      value.is_string() ? std::ssize(value.string()) : std::ssize(value.list().items) * int64_t{32};
  if (size > 0 && times > INT64_MAX / size) fail("a repetition is too long");
  budget.bytes(size * times);
  if (value.is_string()) {
    std::string out;
    for (int64_t i = 0; i < times && size > 0; ++i) out += value.string();
    return Text{std::move(out), value.is_markup()};
  }
  std::vector<Value> out;
  for (int64_t i = 0; i < times && size > 0; ++i)
    out.insert(out.end(), value.list().items.begin(), value.list().items.end());
  return make_list(std::move(out), value.list().kind);
}

std::string escaped(const Value& value) {
  if (value.is_markup()) return value.string();
  std::string out;
  for (const char c : value.string()) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<' || c == '>') {
      out += c == '<' ? "&lt;" : "&gt;";
    } else if (c == '\'' || c == '"') {
      out += c == '"' ? "&#34;" : "&#39;";
    } else {
      out += c;
    }
  }
  return out;
}

Value joined_markup(const Value& a, const Value& b, Budget& budget) {
  std::string out = escaped(a) + escaped(b);
  budget.bytes(std::ssize(out));
  return Text{std::move(out), true};
}

bool is_list_or_tuple(const Value& value) {
  return value.is_list(ListKind::list) || value.is_list(ListKind::tuple);
}

}  // namespace

Value arithmetic(std::string_view op, const Value& a, const Value& b, Budget& budget) {
  if (a.is_integer() && b.is_integer()) return whole_arithmetic(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return real_arithmetic(op, a.real(), b.real());
  for (const Value* value : {&a, &b}) {
    if (value->is<Undefined>()) fail("{}", value->undefined_what());
  }
  if (op == "+" && a.is_string() && b.is_string()) {
    if (a.is_markup() || b.is_markup()) return joined_markup(a, b, budget);
    budget.bytes(std::ssize(a.string()) + std::ssize(b.string()));
    return a.string() + b.string();
  }
  if (op == "+" && is_list_or_tuple(a) && is_list_or_tuple(b) && a.list().kind == b.list().kind) {
    std::vector<Value> items = a.list().items;
    items.insert(items.end(), b.list().items.begin(), b.list().items.end());
    budget.bytes(std::ssize(items) * 32);
    return make_list(std::move(items), a.list().kind);
  }
  if (op == "*" && (a.is_string() || is_list_or_tuple(a)) && b.is_integer())
    return repeated(a, b.integer(), budget);
  if (op == "*" && (b.is_string() || is_list_or_tuple(b)) && a.is_integer())
    return repeated(b, a.integer(), budget);
  if (op == "%" && a.is_markup()) fail("'%' on what 'safe' made is not supported");
  if (op == "%" && a.is_string()) {
    return formatted(a.string(), b.is_list(ListKind::tuple) ? b.list().items : std::vector<Value>{b}, budget);
  }
  fail("'{}' is not for a {} and a {}", op, type_name(a), type_name(b));
}

Value negative(const Value& value) {
  if (value.is_integer()) return whole_arithmetic("-", 0, value.integer());
  if (value.is<double>()) return -value.real();
  if (value.is<Undefined>()) fail("{}", value.undefined_what());
  fail("'-' is not for a {}", type_name(value));
}

}  // namespace trireme::jinja
