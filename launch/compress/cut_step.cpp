// A step that leaves units out of the model.
#include <chrono>
#include <filesystem>
#include <optional>

#include "launch/compress/compression.h"
#include "launch/compress/cut_amounts.h"
#include "launch/compress/cut_outcome.h"
#include "launch/compress/step_files.h"
#include "models/compress/structured/cut_weights.h"
#include "models/compress/structured/unit_importance.h"
#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/io/json/json_file.h"

namespace trireme::launch {

namespace {

using Clock = std::chrono::steady_clock;

UnitImportance measured_importance(Compression& c, size_t index) {
  // The first step's model is the base, which is there.
  std::optional<InferenceModel> later;
  if (index > 0) later.emplace(c.ctx, c.world, *c.source, c.config, c.model_options(ops::Activations::exact));
  const std::string name = c.arguments.recipe.steps[index].name;
  if (c.is_first()) c.line.begin(name);
  UnitImportance importance = measure_importance(c.ctx, later ? *later : *c.base, *c.source, c.samples, {},
                                                 [&](int64_t done, int64_t total) {
                                                   if (c.is_first())
                                                     c.line.show(done, total, "importance of units");
                                                 });
  if (c.is_first()) c.line.end();
  return importance;
}

/// Which units stay: of rank 0, as a file has it, so that all ranks leave out the same.
CutOutcome chosen_units(Compression& c, size_t index, const StructuredCut& cut) {
  const std::string file = c.work.step_directory(index) + "/units.json";
  bool is_known = false;
  together(c.world, [&] {
    if (c.is_first()) c.work.make_step_directory(index);
  });
  together(c.world, [&] {
    std::error_code ignored;
    is_known = std::filesystem::exists(file, ignored);
  });
  if (!is_known) {
    const UnitImportance importance = measured_importance(c, index);
    together(c.world, [&] {
      if (!c.is_first()) return;
      const CutOutcome outcome = cut_outcome(cut, choose_units(c.config, importance, cut), importance);
      write_file_atomically(file, json_of(outcome).dump() + "\n");
    });
  }
  CutOutcome outcome;
  together(c.world, [&] { outcome = cut_outcome_of(read_json_file(file), file); });
  return outcome;
}

}  // namespace

StepRecord cut_step(Compression& c, size_t index) {
  const auto begin = Clock::now();
  StructuredCut cut;
  together(c.world, [&] { cut = numbers_of(c.arguments.recipe.steps[index].cut, c.config); });
  c.say(fmt::format("{}: {}", c.arguments.recipe.steps[index].name, text_of(cut, c.config)));
  c.end_if_asked();
  StepRecord record;
  record.cut = chosen_units(c, index, cut);
  c.end_if_asked();
  together(c.world, [&] {
    const ModelConfig left = cut_config(c.config, cut, record.cut->kept);
    const DType type = values_type(*c.source, c.config);
    const auto source = cut_weights(c.source, c.config, cut, record.cut->kept);
    if (c.is_first()) write_step(c.work.step_file(index), left, *source, {.values = type});
    c.config = left;
  });
  measure_file(c, index, ops::Activations::exact, record);
  record.figures.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return record;
}

}  // namespace trireme::launch
