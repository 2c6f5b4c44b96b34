// Parses templates.
#pragma once

#include <string>
#include <string_view>

#include "runtime/text/jinja/ast.h"

namespace trireme::jinja {

/// UserError(bad_input) "NAME:LINE:COLUMN: ..." for what is no template, and by name for statements, filters
/// and tests of Jinja that are not supported.
Body parse_template(std::string_view source, const std::string& name);

}  // namespace trireme::jinja
