#include "launch/cli/options/parameter_rules_text.h"

#include <cmath>

#include <fmt/format.h>

#include "launch/cli/options/option_values.h"

namespace trireme::launch {

namespace {

constexpr std::string_view kSpace = " \t\n";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

/// Takes what stands before the first of `separators`, and the separator.
std::string_view take_until(std::string_view& text, std::string_view separators) {
  const size_t at = text.find_first_of(separators);
  const std::string_view first = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return first;
}

bool set_switch(std::string_view value, std::optional<bool>& field) {
  field = value == "on";
  return value == "on" || value == "off";
}

bool set_role(std::string_view value, std::optional<ParameterRole>& field) {
  for (int i = 0; i <= static_cast<int>(ParameterRole::vector); ++i) {
    if (to_string(static_cast<ParameterRole>(i)) != value) continue;
    field = static_cast<ParameterRole>(i);
    return true;
  }
  return false;
}

std::string optimizer_names() {
  std::string names;
  for (const OptimizerTraits& optimizer : kOptimizers) {
    names += names.empty() ? "" : "|";
    names += optimizer.name;
  }
  return names;
}

std::string set_key(std::string_view setting, ParameterRule& rule) {
  const std::string_view whole = setting, key = take_until(setting, "="), value = setting;
  if (const auto kind = parse_enum<OptimizerKind>(value); key == "optimizer" && kind) {
    rule.optimizer = kind;
    return "";
  }
  if (key == "decay" && set_switch(value, rule.decays)) return "";
  if (key == "frozen" && set_switch(value, rule.frozen)) return "";
  const auto factor = option_values::parse_number<double>(value);
  if (key == "lr" && factor && *factor >= 0 && std::isfinite(static_cast<float>(*factor))) {
    rule.lr_factor = factor;
    return "";
  }
  return fmt::format("'{}' is none of optimizer={}, lr=FACTOR (0 or more), decay=on|off and frozen=on|off",
                     whole, optimizer_names());
}

std::string parse_rule(std::string_view text, ParameterRule& rule) {
  const std::string_view whole = text, pattern = trimmed(take_until(text, ":"));
  text = trimmed(text);
  if (pattern.empty() || text.empty())
    return fmt::format("'{}' is no PATTERN: KEY=VALUE ...", trimmed(whole));
  if (pattern.starts_with('@')) {
    if (!set_role(pattern.substr(1), rule.role)) {
      return fmt::format("'{}' is none of @matrix, @expert, @router, @embedding, @head, @norm and @vector",
                         pattern);
    }
  } else {
    rule.pattern = pattern;
  }
  while (!text.empty()) {
    const std::string error = set_key(take_until(text, kSpace), rule);
    if (!error.empty()) return error;
    text = trimmed(text);
  }
  return "";
}

}  // namespace

std::string parse_parameter_rules(std::string_view text, std::vector<ParameterRule>& rules) {
  std::vector<ParameterRule> parsed;
  while (!trimmed(text).empty()) {
    const std::string_view one = take_until(text, ";");
    if (trimmed(one).empty()) continue;
    const std::string error = parse_rule(one, parsed.emplace_back());
    if (!error.empty()) return error;
  }
  rules = std::move(parsed);
  return "";
}

std::string text_of(const std::vector<ParameterRule>& rules) {
  std::string text;
  for (const ParameterRule& rule : rules) {
    text += text.empty() ? "" : "; ";
    text += rule.role ? fmt::format("@{}:", to_string(*rule.role)) : rule.pattern + ":";
    if (rule.optimizer) text += fmt::format(" optimizer={}", to_string(*rule.optimizer));
    if (rule.lr_factor) text += fmt::format(" lr={}", *rule.lr_factor);
    if (rule.decays) text += fmt::format(" decay={}", *rule.decays ? "on" : "off");
    if (rule.frozen) text += fmt::format(" frozen={}", *rule.frozen ? "on" : "off");
  }
  return text;
}

}  // namespace trireme::launch
