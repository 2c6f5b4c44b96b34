// A step that makes weights zero.
#include <chrono>
#include <memory>
#include <utility>

#include <fmt/ranges.h>

#include "launch/compress/block_run.h"
#include "launch/compress/matrix_plans.h"
#include "launch/compress/mixed_widths.h"
#include "launch/compress/step_files.h"
#include "models/compress/prune_budgets.h"
#include "models/formats/mapped_weights.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

using Clock = std::chrono::steady_clock;

/// What quantize_model() is to do with each matrix.
MatrixPlans pruning_plans(Compression& c, const PruneStep& step, InferenceModel& model,
                          const WeightSource& source) {
  auto plans = std::make_shared<std::map<std::string, MatrixPlan>>();
  PruneBudgetOptions budgets;
  budgets.method = step.options.method;
  budgets.sparsity = step.options.sparsity;
  for (const Parameter& p : parameters_of(c.config)) {
    if (p.global_shape.rank() != 2) continue;
    const MatrixPlan plan = plan_of(step, p.name);
    if (plan.pruning) budgets.matrices.push_back(p.name);
    (*plans)[p.name] = plan;
  }
  if (step.is_global) {
    if (needs_samples(step)) budgets.samples = c.samples;
    for (const auto& [name, sparsity] : prune_budgets(c.ctx, model, source, budgets))
      plans->at(name).pruning->sparsity = sparsity;
  }
  return [plans](const std::string& name) {
    const auto found = plans->find(name);
    return found == plans->end() ? MatrixPlan{} : found->second;
  };
}

}  // namespace

StepRecord prune_step(Compression& c, size_t index) {
  const RecipeStep& recipe_step = c.arguments.recipe.steps[index];
  const PruneStep& step = recipe_step.prune;
  const auto begin = Clock::now();
  // As the file will have those that are not pruned.
  const auto source = rounded_source(
      values_of(c.source), [&](std::string_view name) { return plan_of(step, name).pruning.has_value(); });
  const FinishedBlocks finished = begin_blocks(c, index);
  StepRecord record;
  {
    InferenceModel model(c.ctx, c.world, *source, c.config, c.model_options(ops::Activations::exact));
    QuantizationPlan plan;
    plan.sequential = step.sequential;
    plan.plan_of = pruning_plans(c, step, model, *source);
    record.outcomes = run_blocks(c, index, model, source, finished, std::move(plan), needs_samples(step));
  }
  together(c.world, [&] {
    if (c.is_first())
      write_step(c.work.step_file(index), c.config, *with_blocks(c, index, source), {.is_sparse = true});
  });
  measure_file(c, index, ops::Activations::exact, record);
  record.figures.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return record;
}

}  // namespace trireme::launch
