// Methods of strings, lists and dicts.
#pragma once

#include <string>

#include "runtime/text/jinja/arguments.h"

namespace trireme::jinja {

/// self.name(...). TemplateError for methods of Python that are not supported, or that would change a value:
/// templates of transformers may not call those.
Value call_method(const Value& self, const std::string& name, const Arguments& arguments, Budget& budget);

}  // namespace trireme::jinja
