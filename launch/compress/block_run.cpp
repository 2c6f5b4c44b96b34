#include "launch/compress/block_run.h"

#include <algorithm>
#include <utility>

#include "launch/process/stop_request.h"
#include "launch/report/number_text.h"
#include "models/formats/mapped_weights.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

bool is_any_planned(const ModelConfig& config, const QuantizationPlan& plan) {
  return std::ranges::any_of(parameters_of(config), [&](const Parameter& p) {
    const MatrixPlan of_matrix = plan.plan_of(p.name);
    return of_matrix.rounding.has_value() || of_matrix.pruning.has_value();
  });
}

void say_outcomes(Compression& c, const std::vector<MatrixOutcome>& outcomes) {
  if (!c.is_first()) return;
  for (const MatrixOutcome& outcome : outcomes) {
    if (!outcome.report.note.empty()) c.say(fmt::format("note: {}: {}", outcome.name, outcome.report.note));
  }
}

void end_at_signal(int64_t /*block*/) {
  if (StopRequest::signal() == 0) return;
  throw_user(ExitCode::resumable, "ended by {}: the blocks that are done are kept; the same command goes on",
             signal_name(StopRequest::signal()));
}

}  // namespace

FinishedBlocks begin_blocks(Compression& c, size_t index) {
  together(c.world, [&] {
    if (c.is_first()) c.work.make_step_directory(index);
  });
  FinishedBlocks finished;
  together(c.world,
           [&] { finished = finished_blocks(c.work.step_directory(index), c.config, c.config.num_layers); });
  if (finished.count > 0)
    c.say(fmt::format("going on: {} of {} of step {} are there", finished.count,
                      counted(c.config.num_layers + 2, "part"), c.arguments.recipe.steps[index].name));
  return finished;
}

std::vector<MatrixOutcome> run_blocks(Compression& c, size_t index, InferenceModel& model,
                                      const std::shared_ptr<const WeightSource>& source,
                                      const FinishedBlocks& finished, QuantizationPlan plan,
                                      bool needs_samples) {
  QuantizeModelOptions options;
  options.plan = std::move(plan);
  options.plan.all_experts = c.arguments.recipe.calibration.all_experts;
  if (needs_samples) options.samples = c.samples;
  options.finished = finished.source.get();
  options.num_finished_blocks = finished.count;
  options.progress = [&c](const QuantizationProgress& at) { c.line.show(at.done, at.total, at.at); };
  BlockWriter sink(c.work.step_directory(index), c.config, end_at_signal);
  if (c.is_first()) c.line.begin(c.arguments.recipe.steps[index].name);
  std::vector<MatrixOutcome> outcomes;
  if (is_any_planned(c.config, options.plan)) outcomes = quantize_model(c.ctx, model, *source, options, sink);
  if (c.is_first()) c.line.end();
  say_outcomes(c, outcomes);
  return outcomes;
}

std::shared_ptr<const WeightSource> with_blocks(const Compression& c, size_t index,
                                                std::shared_ptr<const WeightSource> source) {
  const std::string directory = c.work.step_directory(index);
  std::vector<std::shared_ptr<const WeightSource>> layers;
  const FinishedBlocks made = finished_blocks(directory, c.config, c.config.num_layers);
  // Codes of an earlier step come as values here.
  if (made.source) layers.push_back(without_coded(made.source, c.source, c.config));
  layers.push_back(std::move(source));
  return std::make_shared<LayeredSource>(directory, std::move(layers));
}

}  // namespace trireme::launch
