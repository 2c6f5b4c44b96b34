// A step that trains through the formats of the one before it.
#include <chrono>
#include <filesystem>

#include <fmt/ranges.h>

#include "launch/cli/config_file.h"
#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "launch/compress/compression.h"
#include "launch/export/own_model.h"
#include "launch/report/files/run_log.h"
#include "launch/run/trainer.h"
#include "models/formats/import_weights.h"
#include "models/formats/open_weights.h"
#include "models/formats/trained_codes.h"
#include "parallel/checkpoint/weights/own_weights.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

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

/// The config.ini of the run that the model is of; empty: it is of none.
std::string run_config_of(const std::string& model) {
  const WeightPlace place = find_weights(model);
  fs::path run;
  if (place.format == ModelFormat::checkpoint) run = run_of(place.path);
  if (place.format == ModelFormat::own_file) run = fs::absolute(place.path).parent_path();
  std::error_code ignored;
  if (run.empty() || !fs::exists(run / "config.ini", ignored)) return "";
  return (run / "config.ini").string();
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

/// What trireme train would be called with. Later ones win over earlier ones.
std::vector<std::string> train_arguments(const Compression& c, size_t index, const QuantizeStep& formats,
                                         const std::string& weights) {
  const RecipeStep& step = c.arguments.recipe.steps[index];
  const ParallelPlan& plan = c.arguments.model.model.plan;
  std::vector<std::string> args;
  const std::string config = run_config_of(c.files.path);
  if (!config.empty()) args.push_back("--config=" + config);
  const std::string directory = c.work.run_directory(index);
  std::error_code ignored;
  const bool goes_on = fs::is_directory(fs::path(directory) / "checkpoints", ignored);
  for (std::string& option : formats_as_options(formats)) args.push_back(std::move(option));
  const std::string own[] = {goes_on ? "--resume=auto" : "--init-from=" + weights,
                             fmt::format("--train.steps={}", step.qat.steps),
                             fmt::format("--optimizer.warmup={}", step.qat.steps / 10),
                             "--train.sample-tokens=0",
                             "--run.dir=" + directory,
                             "--checkpoint.keep=1",
                             fmt::format("--parallel.data={}", plan.data),
                             fmt::format("--parallel.tensor={}", plan.tensor),
                             fmt::format("--parallel.pipeline={}", plan.pipeline),
                             fmt::format("--parallel.expert={}", plan.expert),
                             fmt::format("--run.threads={}", c.arguments.model.run.threads)};
  args.insert(args.end(), std::begin(own), std::end(own));
  if (!c.files.tokenizer.empty()) args.push_back("--data.tokenizer=" + c.files.tokenizer);
  args.insert(args.end(), step.qat.train_options.begin(), step.qat.train_options.end());
  return args;
}

void train_through(Compression& c, size_t index, const QuantizeStep& formats) {
  const std::string weights = c.work.path() + "/qat-begin.safetensors";
  together(c.world, [&] {
    if (c.is_first()) import_weights(*c.source, c.config, DType::f32, weights);
  });
  const ArgumentRules rules{.command = "train",
                            .options = all_options(),
                            .switches = {},
                            .needs_data = true,
                            .given_by = "step " + c.arguments.recipe.steps[index].name};
  const RunArguments arguments =
      parse_run_arguments(rules, train_arguments(c, index, formats, weights), c.world.size());
  RunLog log;
  Job job{.world = &c.world, .hosts = {}, .local_size = c.local_ranks, .device = c.ctx.device(), .log = &log};
  for (const Option& option : rules.options) job.options[option.key()] = option.value.get(arguments.config);
  c.line.end();
  train(arguments.config, write_config(arguments.config), job, c.out);
}

}  // namespace

StepRecord qat_step(Compression& c, size_t index) {
  const auto begin = std::chrono::steady_clock::now();
  const QuantizeStep& formats = formats_before(c.arguments.recipe, index);
  const std::string trained = c.work.run_directory(index) + "/model.safetensors";
  bool is_trained = false;
  together(c.world, [&] { is_trained = fs::exists(trained); });
  if (!is_trained) train_through(c, index, formats);
  together(c.world, [&] {
    c.source = trained_codes(open_own_weights(trained),
                             quantization_of_ini(c.work.run_directory(index) + "/config.ini"));
  });
  // What is left is of other formats: the token table, say.
  QuantizeStep nearest = formats;
  nearest.scaling = InputScaling::none;
  nearest.rounding = {.spec = formats.rounding.spec};
  StepRecord record = quantize_step(c, index, nearest);
  record.figures.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return record;
}

}  // namespace trireme::launch
