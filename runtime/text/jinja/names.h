// The names that templates may use, and what is said of those that are Jinja's or Python's but not ours.
#pragma once

#include <string>
#include <string_view>

namespace trireme::jinja {

/// Empty for a filter that is supported; a sentence otherwise. Jinja finds out when it comes there.
std::string why_no_filter(std::string_view name);
std::string why_no_test(std::string_view name);
std::string why_no_statement(std::string_view word);

/// Names with a meaning of their own: true, loop, namespace...
bool is_reserved(std::string_view name);

/// Whether a type of Python has this method, known here (see methods.h) or not: such attributes are no keys.
bool is_method_of(std::string_view type, std::string_view name);

}  // namespace trireme::jinja
