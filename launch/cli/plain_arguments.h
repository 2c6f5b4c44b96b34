// Options of the small commands, which fill no run configuration.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace trireme {

struct PlainOption {
  std::string name;         ///< without dashes
  std::string placeholder;  ///< "N"
  std::string help;
  std::string shown_default;
  /// Takes the text; returns what is allowed when it is something else, or nothing.
  std::function<std::string(const std::string& text)> set;
};

/// The options' help, in the layout of help_lines().
std::string help_plain(std::span<const PlainOption> options);

/// Hands every option to its `set`, adds what is wrong to `faults`, and returns what stands alone. `command`
/// is named in the faults: "data build".
std::vector<std::string> parse_plain_arguments(const std::string& command,
                                               std::span<const PlainOption> options,
                                               std::span<const std::string> args,
                                               std::vector<std::string>& faults);

}  // namespace trireme
