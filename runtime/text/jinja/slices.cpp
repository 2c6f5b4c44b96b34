// Slices and formats of strings.
#include <algorithm>

#include "runtime/text/jinja/operators.h"
#include "runtime/text/jinja/strings.h"
#include "runtime/text/jinja/text.h"

namespace trireme::jinja {

namespace {

/// Where a bound of a slice lies in [low, high].
int64_t bounded(int64_t bound, int64_t size, int64_t low, int64_t high) {
  return std::clamp(bound < 0 ? std::max(bound + size, low) : bound, low, high);
}

}  // namespace

Value slice(const Value& base, std::optional<int64_t> begin, std::optional<int64_t> end,
            std::optional<int64_t> step, Budget& budget) {
  if (base.is<Undefined>()) fail("{}", base.undefined_what());
  if (!base.is_string() && !(base.is_list() && base.list().kind <= ListKind::range))
    fail("a {} has no slices", type_name(base));
  const int64_t size = length(base), by = step.value_or(1);
  if (by == 0) fail("the step of a slice is 0");
  if (by == INT64_MIN) fail("the step of a slice is beyond 63 bits");
  const int64_t low = by > 0 ? 0 : -1, high = by > 0 ? size : size - 1;
  const int64_t first = begin ? bounded(*begin, size, low, high) : by > 0 ? 0 : size - 1;
  const int64_t last = end ? bounded(*end, size, low, high) : by > 0 ? size : -1;
  if (base.is_string() && by == 1) {
    const std::string_view text = base.string();
    const size_t from = byte_of(text, first);
    const size_t bytes = first < last ? byte_of(text.substr(from), last - first) : 0;
    budget.bytes(static_cast<int64_t>(bytes));
    return Text{std::string(text.substr(from, bytes)), base.is_markup()};
  }
  const std::vector<Value> items = base.is_string() ? elements(base, budget) : base.list().items;
  std::vector<Value> out;
  for (int64_t at = first; by > 0 ? at < last : at > last; at += by) {
    out.push_back(items[static_cast<size_t>(at)]);
    if (by > 0 ? by > last - at : by < last - at) break;  // the next would overflow or be outside
  }
  budget.bytes(std::ssize(out) * 32);
  if (!base.is_string()) return make_list(std::move(out), base.list().kind);
  std::string text;
  for (const Value& item : out) text += item.string();
  return Text{std::move(text), base.is_markup()};
}

Value formatted(const std::string& format, const std::vector<Value>& values, Budget& budget) {
  std::string out;
  size_t used = 0;
  for (size_t at = 0; at < format.size(); ++at) {
    if (format[at] != '%') {
      out += format[at];
      continue;
    }
    const char kind = ++at < format.size() ? format[at] : ' ';
    if (kind == '%') {
      out += '%';
      continue;
    }
    if (kind != 's' && kind != 'd' && kind != 'i')
      fail("a format has '%{}'; %s, %d and %% are supported", kind);
    if (used == values.size()) fail("a format has more fields than the {} values", values.size());
    const Value& value = values[used++];
    if (kind != 's' && !value.is_integer()) fail("the format %{} is given a {}", kind, type_name(value));
    out += kind == 's' ? text_of(value, budget) : fmt::to_string(value.integer());
  }
  if (used < values.size()) fail("a format has {} fields for {} values", used, values.size());
  budget.bytes(std::ssize(out));
  return out;
}

}  // namespace trireme::jinja
