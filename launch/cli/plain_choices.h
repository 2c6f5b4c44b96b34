// Setters of options that take one of several names.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/enum_names.h"

namespace trireme::launch {

/// A PlainOption::set for one of `choices`, which a Field may be given.
template <class T, class Field = T>
std::function<std::string(const std::string&)> one_of(Field& field,
                                                      std::vector<std::pair<std::string, T>> choices) {
  return [&field, choices = std::move(choices)](const std::string& text) -> std::string {
    std::string names;
    for (const auto& [name, value] : choices) {
      names += (names.empty() ? "" : ", ") + name;
      if (name != text) continue;
      field = value;
      return "";
    }
    return "one of " + names;
  };
}

/// All values of an enum by their names, but `without`.
template <NamedEnum E>
std::vector<std::pair<std::string, E>> choices_of(std::optional<E> without = {}) {
  std::vector<std::pair<std::string, E>> pairs;
  for (const auto& [value, name] : names_of(E{})) {
    if (value != without) pairs.emplace_back(name, value);
  }
  return pairs;
}

}  // namespace trireme::launch
