// Tests of Jinja: what may follow `is`.
#pragma once

#include <string_view>

#include "runtime/text/jinja/arguments.h"

namespace trireme::jinja {

bool has_test(std::string_view name);

/// input is name(...). TemplateError where Jinja raises.
bool apply_test(std::string_view name, const Value& input, const Arguments& arguments, Budget& budget);

}  // namespace trireme::jinja
