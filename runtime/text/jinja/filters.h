// Filters of Jinja, with the meaning that transformers' environment gives them (tojson).
#pragma once

#include <string>
#include <string_view>

#include "runtime/text/jinja/arguments.h"

namespace trireme::jinja {

bool has_filter(std::string_view name);

/// input | name(...). TemplateError where Jinja raises.
Value apply_filter(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget);

/// Filters that walk a list: map, select, sort, join...; nothing for other names.
std::optional<Value> apply_list_filter(std::string_view name, const Value& input, const Arguments& arguments,
                                       Budget& budget);
bool has_list_filter(std::string_view name);

}  // namespace trireme::jinja
