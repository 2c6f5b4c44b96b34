#include "parallel/plan/parameter_rules.h"

namespace trireme {

namespace {

// Learned scales are logarithms, which have some way to go: at a learning rate of 1e-4 and this factor a step
// is a seventh of a percent of a scale.
constexpr double kLrFactorOfScales = 20;

// Whether `text` is `pattern`, in which * stands for any characters.
bool fits(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;  // the last * takes one more character
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace

std::span<const EnumName<OptimizerKind>> names_of(OptimizerKind) {
  static const std::vector<EnumName<OptimizerKind>> names = [] {
    std::vector<EnumName<OptimizerKind>> all;
    for (const OptimizerTraits& traits : kOptimizers)
      all.push_back({static_cast<OptimizerKind>(all.size()), traits.name});
    return all;
  }();
  return names;
}

std::string_view to_string(ParameterRole role) {
  constexpr std::string_view kNames[] = {"matrix", "expert", "router", "embedding", "head", "norm", "vector"};
  return kNames[static_cast<size_t>(role)];
}

ParameterRole parameter_role(std::string_view name, int num_dims, bool is_of_expert) {
  if (num_dims != 2)
    return name.find("norm.") != std::string_view::npos ? ParameterRole::norm : ParameterRole::vector;
  if (is_of_expert) return ParameterRole::expert;
  if (name.starts_with("embedding.")) return ParameterRole::embedding;
  if (name == "head.weight") return ParameterRole::head;
  return name.ends_with(".router.weight") ? ParameterRole::router : ParameterRole::matrix;
}

bool ParameterRule::matches(std::string_view name, ParameterRole of_role) const {
  return role.value_or(of_role) == of_role && fits(pattern, name);
}

ParameterSettings settings_of(std::string_view name, int num_dims, bool is_of_expert,
                              std::span<const ParameterRule> rules) {
  const ParameterRole role = parameter_role(name, num_dims, is_of_expert);
  ParameterSettings settings{.decays = num_dims == 2,
                             .lr_factor = num_dims > 2 && name.ends_with("_scale") ? kLrFactorOfScales : 1};
  for (const ParameterRule& rule : rules) {
    if (!rule.matches(name, role)) continue;
    settings.optimizer = rule.optimizer.value_or(settings.optimizer);
    settings.decays = rule.decays.value_or(settings.decays);
    settings.lr_factor = rule.lr_factor.value_or(settings.lr_factor);
    settings.frozen = rule.frozen.value_or(settings.frozen);
  }
  return settings;
}

std::vector<ParameterRule> rules_of(OptimizerKind kind) {
  if (kind == OptimizerKind::adamw) return {};
  std::vector<ParameterRule> rules(2);
  rules[0].role = ParameterRole::matrix;
  rules[1].role = ParameterRole::expert;
  for (ParameterRule& rule : rules) rule.optimizer = kind;
  return rules;
}

int optimizer_state_floats(const ParameterSettings& settings) {
  return settings.frozen ? 0 : traits_of(settings.optimizer).state_floats;
}

}  // namespace trireme
