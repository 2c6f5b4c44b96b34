// One step that quantizes: blocks into files, these into one, and what the result is like.
#include <algorithm>
#include <chrono>
#include <filesystem>

#include <fmt/ranges.h>

#include "launch/compress/block_files.h"
#include "launch/compress/compression.h"
#include "launch/compress/matrix_plans.h"
#include "launch/compress/mixed_widths.h"
#include "launch/process/stop_request.h"
#include "launch/report/number_text.h"
#include "models/formats/mapped_weights.h"
#include "models/formats/open_weights.h"
#include "models/formats/quantized/quantized_files.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/error.h"
#include "runtime/io/files/durable_file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_from(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

Parameter whole_tensor(const std::string& name, const Shape& shape) {
  return Parameter::whole(name, shape, 0, 0);
}

/// All tensors of the model, in the order of the forward pass, as the step's file has them.
std::vector<QuantizedTensor> file_tensors(const ModelConfig& config, const WeightSource& source) {
  std::vector<QuantizedTensor> tensors;
  for (const Parameter& p : parameters_of(config))
    tensors.push_back({p.name, p.global_shape, source.coded_spec(p.name, p)});
  for (const auto& [name, kind] : source.kinds()) {
    if (name.ends_with(kRouterBias)) tensors.push_back({name, kind.shape, std::nullopt});
  }
  return tensors;
}

void write_step(const std::string& file, const ModelConfig& config, const WeightSource& source,
                ops::Activations activations) {
  std::map<std::string, Shape> shapes;
  const std::vector<QuantizedTensor> tensors = file_tensors(config, source);
  for (const QuantizedTensor& tensor : tensors) shapes.insert({tensor.name, tensor.shape});
  const QuantizedContent content{[&](const std::string& name) {
                                   auto codes = source.coded(name, whole_tensor(name, shapes.at(name)));
                                   TRIREME_CHECK(codes.has_value(), "no codes of {}", name);
                                   return *std::move(codes);
                                 },
                                 [&](const std::string& name) {
                                   const Shape& shape = shapes.at(name);
                                   std::vector<float> values(static_cast<size_t>(shape.numel()));
                                   source.read(name, whole_tensor(name, shape), values);
                                   return values;
                                 }};
  FileCalls calls;
  remove_file(calls, file + ".unfinished");
  write_quantized(file + ".unfinished", config, tensors, content, {.activations = activations});
  rename_path(calls, file + ".unfinished", file);
}

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

bool is_any_planned(const ModelConfig& config, const MatrixPlans& plans) {
  return std::ranges::any_of(parameters_of(config),
                             [&](const Parameter& p) { return plans(p.name).rounding.has_value(); });
}

void say_outcomes(Compression& c, const std::vector<MatrixOutcome>& outcomes) {
  if (!c.is_first()) return;
  for (const MatrixOutcome& outcome : outcomes) {
    if (!outcome.report.note.empty()) c.say(fmt::format("note: {}: {}", outcome.name, outcome.report.note));
  }
}

}  // namespace

StepRecord quantize_step(Compression& c, size_t index) {
  const RecipeStep& step = c.arguments.recipe.steps[index];
  const std::vector<std::string> errors = errors_of(step.quantize, c.config, *c.source);
  if (!errors.empty()) throw_usage("step {}: {}", step.name, fmt::join(errors, "\n"));
  return quantize_step(c, index, step.quantize);
}

StepRecord quantize_step(Compression& c, size_t index, const QuantizeStep& step) {
  const RecipeStep& recipe_step = c.arguments.recipe.steps[index];
  const auto begin = Clock::now();
  const MatrixPlans planned = plans_of(step, c.config, *c.source);
  const auto rounded = rounded_source(
      c.source, [&](std::string_view name) { return planned(std::string(name)).rounding.has_value(); });
  together(c.world, [&] {
    if (c.is_first()) c.work.make_step_directory(index);
  });
  const std::string directory = c.work.step_directory(index);
  const int64_t num_blocks = c.config.num_layers;
  FinishedBlocks finished;
  together(c.world, [&] { finished = finished_blocks(directory, c.config, num_blocks); });
  if (finished.count > 0)
    c.say(fmt::format("going on: {} of {} of step {} are there", finished.count,
                      counted(num_blocks + 2, "part"), recipe_step.name));

  InferenceModel model(c.ctx, c.world, *rounded, c.config, c.model_options(step.activations));
  const MatrixPlans plan = with_widths(c, step, model, *rounded, planned, directory);
  if (c.is_first()) c.line.begin(recipe_step.name);
  QuantizeModelOptions options;
  options.plan = {.scaling = step.scaling,
                  .strength = step.strength,
                  .activations = step.activations,
                  .sequential = step.sequential,
                  .all_experts = c.arguments.recipe.calibration.all_experts,
                  .plan_of = plan};
  if (needs_samples(step)) options.samples = c.samples;
  options.finished = finished.source.get();
  options.num_finished_blocks = finished.count;
  options.progress = [&c](const QuantizationProgress& at) { c.line.show(at.done, at.total, at.at); };
  BlockWriter sink(directory, c.config, [](int64_t) {
    if (StopRequest::signal() != 0)
      throw_user(ExitCode::resumable,
                 "ended by {}: the blocks that are done are kept; the same command goes on",
                 signal_name(StopRequest::signal()));
  });
  StepRecord record;
  if (is_any_planned(c.config, plan)) record.outcomes = quantize_model(c.ctx, model, *rounded, options, sink);
  if (c.is_first()) c.line.end();
  say_outcomes(c, record.outcomes);

  const std::string file = c.work.step_file(index);
  together(c.world, [&] {
    if (!c.is_first()) return;
    std::vector<std::shared_ptr<const WeightSource>> layers;
    const FinishedBlocks made = finished_blocks(directory, c.config, num_blocks);
    // Codes of an earlier step come as values here.
    if (made.source) layers.push_back(without_coded(made.source, c.source, c.config));
    layers.push_back(rounded);
    write_step(file, c.config, LayeredSource(directory, std::move(layers)), step.activations);
  });
  record.figures = c.measured(model);
  record.figures.name = recipe_step.name;
  record.figures.what = describe(recipe_step);
  record.figures.seconds = seconds_from(begin);
  together(c.world, [&] {
    record.figures.bytes = static_cast<int64_t>(fs::file_size(file));
    c.source = open_weights(find_weights(file), c.config);
  });
  return record;
}

}  // namespace trireme::launch
