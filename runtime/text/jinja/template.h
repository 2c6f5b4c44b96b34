// Templates in the subset of Jinja (jinja.palletsprojects.com) that models' chat templates use, rendered as
// transformers does: with trim_blocks and lstrip_blocks, its tojson, break and continue, {% generation %},
// raise_exception and strftime_now, and nothing that changes a value.
//
// Not supported, and refused by name and place: include, import, extends, block, do, autoescape and trans;
// recursive loops; * and ** in calls. Refused where they are used: filters that escape or lay out text,
// methods that would change a value.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "runtime/text/jinja/budget.h"
#include "runtime/text/jinja/evaluator.h"

namespace trireme::jinja {

class Template {
 public:
  /// UserError(bad_input) "NAME:LINE:COLUMN: ..." when the source is no template of this subset.
  Template(std::string_view source, std::string name);

  const std::string& name() const { return name_; }

  /// The text for these variables, an object of JSON. UserError(bad_input) "NAME:LINE:COLUMN: ..." where
  /// Jinja raises, when the template calls raise_exception, and beyond the limits. May be called by several
  /// threads.
  Output render(const nlohmann::ordered_json& variables, const std::tm& now, const Limits& limits = {}) const;

 private:
  std::string name_;
  Body body_;
};

}  // namespace trireme::jinja
