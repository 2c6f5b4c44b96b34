// Kinds of option values. Each takes an accessor of its field: [](auto& config) -> auto& { return
// config.train.steps; }
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/cli/options/option.h"
#include "runtime/base/enum_names.h"

namespace trireme::launch::option_values {

inline constexpr int64_t kMost = int64_t{1}
                                 << 53;  ///< whole numbers stay exact where they meet floating point

/// All of `text` as a number, or nothing.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Whole numbers of [least, most].
template <class Field>
OptionValue whole(Field field, int64_t least, int64_t most = kMost) {
  using T = std::remove_cvref_t<decltype(field(std::declval<RunConfig&>()))>;
  static_assert(std::is_integral_v<T>);
  if (std::in_range<int64_t>(std::numeric_limits<T>::max()))  // nothing wraps in a narrow field
    most = std::min(most, static_cast<int64_t>(std::numeric_limits<T>::max()));
  OptionValue value;
  value.placeholder = "N";
  value.range = most == kMost ? fmt::format("{} or more", least) : fmt::format("{} to {}", least, most);
  value.set = [=](RunConfig& config, const std::string& text) -> std::string {
    const auto number = parse_number<int64_t>(text);
    if (!number || *number < least || *number > most) {
      return most == kMost ? fmt::format("a whole number, {} or more", least)
                           : fmt::format("a whole number from {} to {}", least, most);
    }
    field(config) = static_cast<T>(*number);
    return "";
  };
  value.get = [=](const RunConfig& config) { return fmt::to_string(field(config)); };
  return value;
}

/// Numbers of [least, below) that are numbers as float too, in which ops take them: not infinite there, and 0
/// only where they are 0.
template <class Field>
OptionValue real(Field field, double least, double below = std::numeric_limits<double>::infinity()) {
  OptionValue value;
  value.placeholder = "X";
  value.range =
      std::isinf(below) ? fmt::format("{} or more", least) : fmt::format("{} to below {}", least, below);
  value.set = [=](RunConfig& config, const std::string& text) -> std::string {
    const auto number = parse_number<double>(text);
    const auto single = static_cast<float>(number.value_or(0));
    const bool fits = std::isfinite(single) && (single != 0 || number == 0.0);
    if (number && *number >= least && *number < below && !fits)
      return "a number between 1e-37 and 1e38, as far as single precision reaches";
    if (!number || !fits || *number < least || *number >= below) {
      return std::isinf(below) ? fmt::format("a number, {} or more", least)
                               : fmt::format("a number from {} up to, not including, {}", least, below);
    }
    field(config) = *number;
    return "";
  };
  value.get = [=](const RunConfig& config) { return fmt::to_string(field(config)); };
  return value;
}

/// Numbers above 0 with commas between them, each to the last bit; none: an empty text.
template <class Field>
OptionValue numbers(Field field) {
  OptionValue value;
  value.placeholder = "X,X,...";
  value.set = [=](RunConfig& config, const std::string& text) -> std::string {
    std::vector<double> list;
    for (size_t begin = 0; !text.empty() && begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      const auto number = parse_number<double>(std::string_view(text).substr(begin, end - begin));
      if (!number || !(*number > 0) || !std::isfinite(static_cast<float>(*number)))
        return "numbers above 0 with commas between them, without blanks, such as 1,1.25,2";
      list.push_back(*number);
      begin = end + 1;
    }
    field(config) = std::move(list);
    return "";
  };
  value.get = [=](const RunConfig& config) {
    std::string text;
    for (const double number : field(config)) text += (text.empty() ? "" : ",") + fmt::to_string(number);
    return text;
  };
  return value;
}

template <class Field>
OptionValue on_off(Field field) {
  OptionValue value;
  value.placeholder = "on|off";
  value.is_switch = true;
  value.set = [=](RunConfig& config, const std::string& text) -> std::string {
    const bool on = text == "on" || text == "true" || text == "yes" || text == "1";
    if (!on && text != "off" && text != "false" && text != "no" && text != "0") return "on or off";
    field(config) = on;
    return "";
  };
  value.get = [=](const RunConfig& config) { return std::string(field(config) ? "on" : "off"); };
  return value;
}

/// Patterns of names with commas between them.
template <class Field>
OptionValue patterns(Field field) {
  OptionValue value;
  value.placeholder = "PATTERN,...";
  value.set = [=](RunConfig& config, const std::string& text) -> std::string {
    std::vector<std::string> list;
    for (size_t begin = 0; !text.empty() && begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      if (end == begin) return "patterns of names with commas between them, such as layers.0.*,*.down.weight";
      list.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    field(config) = std::move(list);
    return "";
  };
  value.get = [=](const RunConfig& config) { return fmt::format("{}", fmt::join(field(config), ",")); };
  return value;
}

template <class Field>
OptionValue text(Field field, std::string placeholder) {
  OptionValue value;
  value.placeholder = std::move(placeholder);
  value.set = [=](RunConfig& config, const std::string& text) -> std::string {
    field(config) = text;
    return "";
  };
  value.get = [=](const RunConfig& config) { return std::string(field(config)); };
  return value;
}

/// One of several names.
template <class T, class Field>
OptionValue choice(Field field, std::vector<std::pair<std::string, T>> choices) {
  std::string names, placeholder;
  for (const auto& [name, unused] : choices) {
    names += (names.empty() ? "" : ", ") + name;
    placeholder += (placeholder.empty() ? "" : "|") + name;
  }
  OptionValue value;
  value.placeholder = placeholder;
  value.set = [=](RunConfig& config, const std::string& text) -> std::string {
    for (const auto& [name, meaning] : choices) {
      if (name != text) continue;
      field(config) = meaning;
      return "";
    }
    return "one of " + names;
  };
  value.get = [=](const RunConfig& config) -> std::string {
    for (const auto& [name, meaning] : choices) {
      if (meaning == field(config)) return name;
    }
    return "";
  };
  return value;
}

/// One of the values of an enum, by their names.
template <NamedEnum E, class Field>
OptionValue named(Field field) {
  std::vector<std::pair<std::string, E>> choices;
  for (const auto& [value, name] : names_of(E{})) choices.emplace_back(name, value);
  return choice<E>(field, std::move(choices));
}

}  // namespace trireme::launch::option_values
