#include "launch/config/optimizer_choice.h"

#include <algorithm>

#include <fmt/format.h>

#include "launch/config/complete_config.h"
#include "models/cost/model_size.h"

namespace trireme::launch {

namespace {

using Errors = std::vector<std::string>;

std::string name_of(const ParameterRule& rule) {
  return rule.role ? fmt::format("@{}", to_string(*rule.role)) : rule.pattern;
}

void check_rules(const RunConfig& config, Errors& errors) {
  if (config.optimizer.rules.empty()) return;
  ModelConfig model = config.model;
  model.vocab_size = known_vocab_size(config);
  const auto rows = parameter_table(model);
  for (const ParameterRule& rule : config.optimizer.rules) {
    const bool matches = std::ranges::any_of(rows, [&](const ParameterInfo& row) {
      return rule.matches(row.name, parameter_role(row.name, row.shape.rank(), row.expert >= 0));
    });
    if (!matches) {
      errors.push_back(fmt::format(
          "optimizer.rules: {} matches no parameter of this model; names are like {} (all: trireme "
          "info --params)",
          name_of(rule), rows[rows.size() / 2].name));
    }
  }
  const auto rules = optimizer_rules(config.optimizer);
  bool trains = false;
  for (const ParameterInfo& row : rows) {
    const ParameterSettings settings = settings_of(row.name, row.shape.rank(), row.expert >= 0, rules);
    trains = trains || !settings.frozen;
    const OptimizerTraits& optimizer = traits_of(settings.optimizer);
    if (row.shape.rank() == 2 || optimizer.unit != UpdateUnit::matrix) continue;
    errors.push_back(
        fmt::format("optimizer.rules assign {} to {}, which is not a matrix: match only matrices, such as "
                    "@matrix",
                    optimizer.name, row.name));
    break;
  }
  if (!trains) errors.push_back("optimizer.rules freeze all parameters: there is nothing to train");
}

}  // namespace

std::vector<ParameterRule> optimizer_rules(const OptimizerConfig& config) {
  std::vector<ParameterRule> rules = rules_of(config.kind);
  rules.insert(rules.end(), config.rules.begin(), config.rules.end());
  return rules;
}

bool uses_muon(const OptimizerConfig& config) {
  return std::ranges::any_of(optimizer_rules(config),
                             [](const ParameterRule& rule) { return rule.optimizer == OptimizerKind::muon; });
}

double muon_lr(const OptimizerConfig& config) { return config.muon_lr == 0 ? config.lr : config.muon_lr; }

DType muon_precision(const RunConfig& config) {
  return config.optimizer.muon_precision.value_or(config.train.precision == DType::f32 ? DType::f32
                                                                                       : DType::bf16);
}

std::vector<std::string> optimizer_errors(const RunConfig& config) {
  Errors errors;
  const OptimizerConfig& optimizer = config.optimizer;
  if (optimizer.warmup >= config.train.steps) {
    errors.push_back(
        fmt::format("optimizer.warmup {} must be less than train.steps {}: optimizer.lr would never "
                    "be reached",
                    optimizer.warmup, config.train.steps));
  }
  if (optimizer.schedule != LrScheduleKind::constant && optimizer.min_lr > optimizer.lr) {
    errors.push_back(
        fmt::format("optimizer.min-lr {} is above optimizer.lr {}", optimizer.min_lr, optimizer.lr));
  }
  if (optimizer.lr == 0 && optimizer.muon_lr > 0) {
    errors.push_back(
        fmt::format("optimizer.muon-lr {} follows the schedule of optimizer.lr, which is 0: set "
                    "optimizer.lr, and freeze what AdamW would update (--optimizer.rules)",
                    optimizer.muon_lr));
  }
  check_rules(config, errors);
  return errors;
}

}  // namespace trireme::launch
