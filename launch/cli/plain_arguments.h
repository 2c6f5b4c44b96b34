// Options of the commands that need no run configuration (data, bench, schedule, checkpoint, generate).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "launch/cli/options/option_values.h"

namespace trireme::launch {

struct PlainOption {
  std::string name;         ///< without dashes
  std::string placeholder;  ///< "N"; empty: a switch, which takes no value (`set` gets none)
  std::string help;
  std::string shown_default;
  /// Takes the text; returns what is allowed when it is something else, or nothing.
  std::function<std::string(const std::string& text)> set;
};

/// A `set` for text as it is.
std::function<std::string(const std::string&)> text_into(std::string& field);

/// A `set` for a switch: true.
std::function<std::string(const std::string&)> switch_into(bool& field);

/// A `set` for whole numbers of [least, most].
template <class T>
std::function<std::string(const std::string&)> whole_into(T& field, int64_t least, int64_t most) {
  return [&field, least, most](const std::string& text) -> std::string {
    const auto number = option_values::parse_number<int64_t>(text);
    if (!number || *number < least || *number > most)
      return fmt::format("a whole number from {} to {}", least, most);
    field = static_cast<T>(*number);
    return "";
  };
}

/// The options' help, in the layout of help_lines().
std::string help_plain(std::span<const PlainOption> options);

/// Hands every option to its `set`, adds what is wrong to `errors`, and returns what stands alone. `command`
/// is named in the errors: "data build".
std::vector<std::string> parse_plain_arguments(const std::string& command,
                                               std::span<const PlainOption> options,
                                               std::span<const std::string> args,
                                               std::vector<std::string>& errors);

}  // namespace trireme::launch
