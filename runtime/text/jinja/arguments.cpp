#include "runtime/text/jinja/arguments.h"

#include <algorithm>

#include "runtime/text/jinja/operators.h"

namespace trireme::jinja {

Bound::Bound(std::string_view what, const Arguments& arguments, std::span<const std::string_view> names,
             size_t required)
    : what_(what), names_(names), values_(names.size(), nullptr) {
  if (arguments.values.size() > names.size()) {
    fail("{} takes at most {} arguments, {} are given", what, names.size(), arguments.values.size());
  }
  for (size_t i = 0; i < arguments.values.size(); ++i) values_[i] = &arguments.values[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::ranges::find(names, name);
    if (found == names.end()) fail("{} has no argument '{}'", what, name);
    const Value*& place = values_[static_cast<size_t>(found - names.begin())];
    if (place != nullptr) fail("{}: the argument '{}' is given twice", what, name);
    place = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (values_[i] == nullptr) fail("{} needs the argument '{}'", what, names[i]);
  }
}

std::string Bound::string(size_t i, std::string_view otherwise) const {
  if (values_[i] == nullptr) return std::string(otherwise);
  if (!values_[i]->is_string())
    fail("{}: the argument '{}' is a {}, not a string", what_, names_[i], type_name(*values_[i]));
  return values_[i]->string();
}

int64_t Bound::integer(size_t i, int64_t otherwise) const {
  if (values_[i] == nullptr) return otherwise;
  if (!values_[i]->is_integer())
    fail("{}: the argument '{}' is a {}, not a whole number", what_, names_[i], type_name(*values_[i]));
  return values_[i]->integer();
}

bool Bound::flag(size_t i, bool otherwise) const {
  return values_[i] == nullptr ? otherwise : is_true(*values_[i]);
}

}  // namespace trireme::jinja
