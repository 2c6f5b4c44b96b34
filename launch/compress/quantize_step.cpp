// One step that quantizes: blocks into files, these into one, and what the result is like.
#include <chrono>
#include <filesystem>
#include <memory>
#include <utility>

#include <fmt/ranges.h>

#include "launch/compress/block_run.h"
#include "launch/compress/matrix_plans.h"
#include "launch/compress/mixed_widths.h"
#include "launch/compress/step_files.h"
#include "models/formats/mapped_weights.h"
#include "models/formats/open_weights.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// What quantize_model() is to do with a matrix: nothing with those that are quantized already.
MatrixPlans plans_of(const QuantizeStep& step, const ModelConfig& config, const WeightSource& source) {
  auto plans = std::make_shared<std::map<std::string, MatrixPlan>>();
  for (const Parameter& p : parameters_of(config)) {
    if (p.global_shape.rank() == 2 && !source.coded_spec(p.name, p)) (*plans)[p.name] = plan_of(step, p.name);
  }
  return [plans](const std::string& name) {
    const auto found = plans->find(name);
    return found == plans->end() ? MatrixPlan{} : found->second;
  };
}

/// The figures of what is in memory, which is what the step's file has.
void measure_model(Compression& c, size_t index, InferenceModel& model, StepRecord& record) {
  const RecipeStep& step = c.arguments.recipe.steps[index];
  const std::string file = c.work.step_file(index);
  record.figures = c.measured(model);
  record.figures.name = step.name;
  record.figures.what = describe(step);
  together(c.world, [&] {
    record.figures.bytes = static_cast<int64_t>(fs::file_size(file));
    c.source = open_weights(find_weights(file), c.config);
  });
}

}  // namespace

StepRecord quantize_step(Compression& c, size_t index) {
  const RecipeStep& step = c.arguments.recipe.steps[index];
  const std::vector<std::string> errors = errors_of(step.quantize, c.config, *c.source);
  if (!errors.empty()) throw_usage("step {}: {}", step.name, fmt::join(errors, "\n"));
  return quantize_step(c, index, step.quantize);
}

StepRecord quantize_step(Compression& c, size_t index, const QuantizeStep& given) {
  const auto begin = Clock::now();
  const bool is_sparse = is_sparse_before(c.arguments.recipe, index);
  QuantizeStep step = given;
  step.rounding.keeps_zeros = is_sparse;
  const MatrixPlans planned = plans_of(step, c.config, *c.source);
  const auto rounded = rounded_source(
      c.source, [&](std::string_view name) { return planned(std::string(name)).rounding.has_value(); });
  const FinishedBlocks finished = begin_blocks(c, index);
  auto model =
      std::make_unique<InferenceModel>(c.ctx, c.world, *rounded, c.config, c.model_options(step.activations));
  QuantizationPlan plan;
  plan.scaling = step.scaling;
  plan.strength = step.strength;
  plan.activations = step.activations;
  plan.sequential = step.sequential;
  plan.plan_of = with_widths(c, step, *model, *rounded, planned, c.work.step_directory(index));
  StepRecord record;
  record.outcomes = run_blocks(c, index, *model, rounded, finished, std::move(plan), needs_samples(step));
  const StepFormats formats{.activations = step.activations, .is_sparse = is_sparse};
  together(c.world, [&] {
    if (c.is_first()) write_step(c.work.step_file(index), c.config, *with_blocks(c, index, rounded), formats);
  });
  if (is_sparse) {  // whose zeros the model in memory holds
    model.reset();
    measure_file(c, index, step.activations, record);
  } else {
    measure_model(c, index, *model, record);
  }
  record.figures.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return record;
}

}  // namespace trireme::launch
