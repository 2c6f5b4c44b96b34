// Values as text: Python's str() and repr(), and JSON as transformers writes it in templates.
#pragma once

#include <optional>
#include <string>

#include "runtime/text/jinja/value.h"

namespace trireme::jinja {

/// str(value), what an output prints; TemplateError for what no template means to print (functions,
/// generators).
std::string text_of(const Value& value, Budget& budget);
std::string repr_of(const Value& value, Budget& budget);
/// The shortest digits that read as the same number, as Python's repr.
std::string real_text(double value);

struct JsonStyle {
  bool ascii = false;                 ///< ensure_ascii
  std::optional<std::string> indent;  ///< of one level
  std::optional<std::pair<std::string, std::string>> separators = {};
  bool sort_keys = false;
};

/// json.dumps; TemplateError for what it does not take.
std::string json_of(const Value& value, const JsonStyle& style, Budget& budget);

}  // namespace trireme::jinja
