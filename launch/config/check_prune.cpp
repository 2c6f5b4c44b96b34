#include "launch/config/check_prune.h"

#include <algorithm>

#include <fmt/format.h>

#include "launch/config/complete_config.h"
#include "launch/config/optimizer_choice.h"
#include "models/spec/model_spec.h"
#include "models/spec/prunable.h"
#include "parallel/pruning/prune_schedule.h"
#include "parallel/pruning/selection.h"

namespace trireme::launch {

namespace {

using Errors = std::vector<std::string>;

void check_choice(const PruneConfig& p, Errors& errors) {
  const bool is_weight = p.unit == PruneUnit::weight;
  if (p.sparsity > 0 && p.of > 0)
    errors.push_back(
        fmt::format("prune.sparsity {:g} and prune.pattern {}:{}: either says how many weights become zero; "
                    "leave one of them out",
                    p.sparsity, p.zeros, p.of));
  if (p.of > 0 && !is_weight)
    errors.push_back(
        fmt::format("prune.pattern {}:{} is of single weights: use --prune.unit weight, or "
                    "--prune.sparsity in its place",
                    p.zeros, p.of));
  if (p.budget == PruneBudget::output && !is_weight)
    errors.push_back(
        "prune.budget output is of single weights, which an output has: use --prune.unit weight, or "
        "--prune.budget matrix or global");
}

void check_schedule(const PruneConfig& p, int64_t steps, Errors& errors) {
  if (p.end_step < p.start_step)
    errors.push_back(
        fmt::format("prune.end-step {} is before prune.start-step {}: give --prune.end-step {} "
                    "(all at once) or more",
                    p.end_step, p.start_step, p.start_step));
  if (p.end_step > steps)
    errors.push_back(
        fmt::format("prune.end-step {}: training ends after train.steps {}, and the model would "
                    "not be as sparse as it should: give {} or fewer",
                    p.end_step, steps, steps));
}

void check_matrix_names(const PruneConfig& p, const ModelSpec& spec, std::span<const ParameterRule> rules,
                        const Prunable& prunable, Errors& errors) {
  PruneConfig all = p;
  all.skip.clear();
  all.unit = PruneUnit::weight;
  const std::vector<PrunableMatrix> matrices = prunable_of(spec, all, rules).matrices;
  for (const std::string& pattern : p.skip) {
    all.skip = {pattern};
    if (std::ranges::none_of(matrices, [&](const PrunableMatrix& m) { return is_skipped(all, m.name); }))
      errors.push_back(
          fmt::format("prune.skip {}: no matrix of the model's {} blocks has such a name; they are as "
                      "layers.0.attention.query.weight, layers.0.ffn.down.weight",
                      pattern, spec.num_blocks()));
  }
  if (prunable.matrices.empty())
    errors.push_back(
        matrices.empty()
            ? "prune: optimizer.rules freeze all matrices of the blocks, and none is left to prune"
            : "prune.skip: it leaves no matrix to prune; name fewer");
}

/// How many units the largest set that is chosen among has, and what they are.
std::pair<int64_t, std::string> largest_choice(const PruneConfig& p, const Prunable& prunable) {
  int64_t most = 0, sum = 0;
  std::string name;
  const auto add = [&](int64_t units, const std::string& of) {
    sum += units;
    if (units > most) name = of;
    most = std::max(most, units);
  };
  if (p.unit == PruneUnit::weight) {
    for (const PrunableMatrix& m : prunable.matrices)
      add(num_units(p, m.shape) / (p.budget == PruneBudget::output ? std::max<int64_t>(m.shape[0], 1) : 1),
          m.name);
  } else {
    for (const UnitSet& set : prunable.sets) add(set.num_units, set.name);
  }
  if (p.budget == PruneBudget::global) return {sum, "the model"};
  return {most, name};
}

void check_counts(const PruneConfig& p, const Prunable& prunable, Errors& errors) {
  if (p.of > 0) {
    const auto narrow =
        std::ranges::find_if(prunable.matrices, [&](const PrunableMatrix& m) { return m.shape[1] < p.of; });
    if (narrow != prunable.matrices.end())
      errors.push_back(
          fmt::format("prune.pattern {}:{}: {} has {} inputs, fewer than a group; use a pattern "
                      "of fewer, or --prune.skip {}",
                      p.zeros, p.of, narrow->name, narrow->shape[1], narrow->name));
    return;
  }
  const auto [units, name] = largest_choice(p, prunable);
  if (units > 0 && whole_part(p.sparsity, units) == 0)
    errors.push_back(
        fmt::format("prune.sparsity {:g}: of the {} units of {} none would go; give {:.3g} or more",
                    p.sparsity, units, name, 1.0 / static_cast<double>(units)));
}

}  // namespace

std::vector<std::string> prune_errors(const RunConfig& config) {
  const PruneConfig& p = config.prune;
  Errors errors;
  if (!p) return errors;
  if (p.is_scheduled()) {
    check_choice(p, errors);
    check_schedule(p, config.train.steps, errors);
  }
  if (!errors.empty()) return errors;
  const ModelSpec spec = spec_of(known_model(config));
  const std::vector<ParameterRule> rules = optimizer_rules(config.optimizer);
  const Prunable prunable = prunable_of(spec, p, rules);
  check_matrix_names(p, spec, rules, prunable, errors);
  if (errors.empty() && p.is_scheduled()) check_counts(p, prunable, errors);
  return errors;
}

}  // namespace trireme::launch
