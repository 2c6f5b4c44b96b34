// A step that trains through the formats of the one before it.
#include <chrono>

#include <fmt/ranges.h>

#include "launch/compress/compression.h"
#include "launch/compress/training.h"
#include "launch/export/own_model.h"
#include "models/formats/trained_codes.h"
#include "parallel/checkpoint/weights/own_weights.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

/// The step that quantized, whose formats are trained through.
const QuantizeStep& formats_before(const Recipe& recipe, size_t index) {
  const QuantizeStep* found = nullptr;
  for (size_t i = 0; i < index; ++i) {
    if (recipe.steps[i].kind != StepKind::quantize) continue;
    if (found != nullptr)
      throw_usage("step {}: qat trains through one format, and the steps before it have several",
                  recipe.steps[index].name);
    found = &recipe.steps[i].quantize;
  }
  TRIREME_CHECK(found != nullptr);
  if (!found->widths.empty())
    throw_usage("step {}: qat trains through one format, and the step before it has mixed widths",
                recipe.steps[index].name);
  return *found;
}

std::vector<std::string> formats_as_options(const QuantizeStep& formats) {
  constexpr const char* kActivations[] = {"exact", "int8", "int8-rows"};
  const ops::PackedSpec& spec = formats.rounding.spec;
  std::vector<std::string> options = {
      fmt::format("--qat.weights={}", ops::to_string(ops::PackedSpec{spec.format}).substr(0, 4)),
      fmt::format("--qat.group={}", spec.group),
      fmt::format("--qat.asymmetric={}", spec.symmetric ? "off" : "on"),
      fmt::format("--qat.activations={}", kActivations[static_cast<size_t>(formats.activations)])};
  if (!formats.skip.empty()) options.push_back(fmt::format("--qat.skip={}", fmt::join(formats.skip, ",")));
  // Tables of other formats are rounded at the end alone.
  if (formats.embedding == spec) options.emplace_back("--qat.embedding=on");
  if (formats.head == spec) options.emplace_back("--qat.head=on");
  return options;
}

}  // namespace

std::vector<std::string> format_options(const Recipe& recipe, size_t index) {
  return formats_as_options(formats_before(recipe, index));
}

StepRecord qat_step(Compression& c, size_t index) {
  const auto begin = std::chrono::steady_clock::now();
  const QuantizeStep& formats = formats_before(c.arguments.recipe, index);
  const std::string trained = train_model(c, index);
  together(c.world, [&] {
    c.source = trained_codes(open_own_weights(trained),
                             quantization_of_ini(c.work.run_directory(index) + "/config.ini"));
  });
  // What is left is of other formats: the token table, say.
  QuantizeStep nearest = formats;
  nearest.scaling = InputScaling::none;
  nearest.rounding = {.spec = formats.rounding.spec};
  StepRecord record = quantize_step(c, index, nearest);
  record.training = losses_of(c.work.run_directory(index));
  record.figures.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return record;
}

}  // namespace trireme::launch
