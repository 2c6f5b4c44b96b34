// What operators do with values, as Python's do. All throw TemplateError where Python raises.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "runtime/text/jinja/value.h"

namespace trireme::jinja {

bool is_true(const Value& value);
bool are_equal(const Value& a, const Value& b, Budget& budget);
bool is_less(const Value& a, const Value& b, Budget& budget);
bool contains(const Value& container, const Value& item, Budget& budget);
/// One of == != < <= > >= in not_in.
bool compare(std::string_view op, const Value& a, const Value& b, Budget& budget);
/// One of + - * / // % **.
Value arithmetic(std::string_view op, const Value& a, const Value& b, Budget& budget);
Value negative(const Value& value);

int64_t length(const Value& value);
/// What a loop walks: elements, keys, characters; nothing of what is undefined. Generators are consumed.
std::vector<Value> elements(const Value& value, Budget& budget);

/// base.name and base[index]; what is not there is undefined.
Value attribute(const Value& base, const std::string& name);
Value item(const Value& base, const Value& index);
/// base[begin:end:step]
Value slice(const Value& base, std::optional<int64_t> begin, std::optional<int64_t> end,
            std::optional<int64_t> step, Budget& budget);

/// format % values, of %s, %d, %i and %% without width.
Value formatted(const std::string& format, const std::vector<Value>& values, Budget& budget);

}  // namespace trireme::jinja
