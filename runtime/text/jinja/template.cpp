#include "runtime/text/jinja/template.h"

#include "runtime/base/error.h"
#include "runtime/text/jinja/parser.h"

namespace trireme::jinja {

Template::Template(std::string_view source, std::string name)
    : name_(std::move(name)), body_(parse_template(source, name_)) {}

Output Template::render(const nlohmann::ordered_json& variables, const std::tm& now,
                        const Limits& limits) const {
  TRIREME_CHECK(variables.is_object(), "variables of a template");
  std::vector<std::pair<std::string, Value>> values;
  for (const auto& [key, value] : variables.items()) {
    try {
      values.emplace_back(key, from_json(value));
    } catch (const TemplateError& error) {
      throw_bad_input("{}: the variable '{}': {}", name_, key, error.what());
    }
  }
  return Evaluator(name_, limits, now).run(body_, std::move(values));
}

}  // namespace trireme::jinja
