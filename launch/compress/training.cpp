#include "launch/compress/training.h"

#include <algorithm>
#include <filesystem>

#include "launch/cli/config_file.h"
#include "launch/cli/ini_file.h"
#include "launch/cli/options/option_table.h"
#include "launch/compress/cut_amounts.h"
#include "launch/compress/own_directory.h"
#include "launch/compress/share_outcome.h"
#include "launch/config/memory_inputs.h"
#include "launch/report/files/run_log.h"
#include "launch/run/trainer.h"
#include "models/formats/import_weights.h"
#include "runtime/base/error.h"
#include "runtime/data/tokens/token_file.h"
#include "runtime/io/files/atomic_file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

std::string config_file_of(const Compression& c, size_t index) {
  return c.work.run_directory(index) + ".ini";
}
std::string weights_file_of(const Compression& c) { return c.work.path() + "/train-begin.safetensors"; }
std::string token_file_of(const Compression& c) { return c.work.path() + "/train.tok"; }

/// Whether a configuration names a text that is there.
bool has_text(const std::string& config_ini) {
  return std::ranges::any_of(read_ini(config_ini).list, [](const Setting& setting) {
    std::error_code ignored;
    const bool is_text = setting.key == "data.text" || setting.key == "data.tokens";
    return is_text && fs::is_regular_file(setting.text.value_or(""), ignored);
  });
}

bool names_text(const std::vector<std::string>& options) {
  return std::ranges::any_of(options, [](const std::string& option) {
    return option.starts_with("--data.text=") || option.starts_with("--data.tokens=");
  });
}

bool trains(const RecipeStep& step) { return step.kind == StepKind::train || step.kind == StepKind::qat; }

const std::vector<std::string>& own_options(const RecipeStep& step) {
  return step.kind == StepKind::qat ? step.qat.train_options : step.train.train_options;
}

/// What else a training has that the step's kind asks for.
std::vector<std::string> options_of_kind(const Compression& c, size_t index) {
  const Recipe& recipe = c.arguments.recipe;
  const RecipeStep& step = recipe.steps[index];
  std::vector<std::string> options;
  if (step.kind == StepKind::qat) options = format_options(recipe, index);
  if (step.kind == StepKind::train && step.train.distills)
    options.push_back("--distill.teacher=" + c.files.path);
  if (step.kind == StepKind::train && step.train.distills && !c.config.exits.empty())
    options.emplace_back("--exit.scale=0");  // a teacher says nothing of exits
  if (is_sparse_before(recipe, index)) options.emplace_back("--prune.keep-zeros=on");
  return options;
}

/// The configuration that a training begins with, and a text where the run's is not there. On rank 0.
void write_training_files(const Compression& c, size_t index, const ModelConfig& config) {
  write_file_atomically(config_file_of(c, index), config_text(c.files, config));
  std::error_code ignored;
  if (has_text(config_file_of(c, index)) || fs::exists(token_file_of(c), ignored)) return;
  const auto tokenizer = tokenizer_of(c.files);
  TokenFileWriter writer(token_file_of(c), c.files.config.vocab_size,
                         tokenizer == nullptr ? 0 : tokenizer->fingerprint());
  writer.write(c.texts.calibration);
  writer.finish();
}

/// What the step's training is called with, in the order in which later ones win.
std::vector<std::string> call_of(const Compression& c, size_t index, bool goes_on) {
  const RecipeStep& step = c.arguments.recipe.steps[index];
  const int64_t steps = step.kind == StepKind::qat ? step.qat.steps : step.train.steps;
  const ParallelPlan& plan = c.arguments.model.model.plan;
  std::vector<std::string> args = {"--config=" + config_file_of(c, index),
                                   fmt::format("--train.steps={}", steps),
                                   fmt::format("--optimizer.warmup={}", steps / 10),
                                   "--train.sample-tokens=0",
                                   "--run.dir=" + c.work.run_directory(index),
                                   "--checkpoint.keep=1",
                                   fmt::format("--parallel.data={}", plan.data),
                                   fmt::format("--parallel.tensor={}", plan.tensor),
                                   fmt::format("--parallel.pipeline={}", plan.pipeline),
                                   fmt::format("--parallel.expert={}", plan.expert),
                                   fmt::format("--run.threads={}", c.arguments.model.run.threads)};
  args.push_back("--init-from=" + weights_file_of(c));
  if (goes_on) args.emplace_back("--resume=auto");
  if (run_config_of(c.files.path).empty())  // whose training had a length of its own
    args.push_back(fmt::format("--train.seq-len={}", c.samples.front().size()));
  if (!c.files.tokenizer.empty()) args.push_back("--data.tokenizer=" + c.files.tokenizer);
  const bool has_own_text = names_text(own_options(step));
  if (!has_own_text && !has_text(config_file_of(c, index))) {
    if (c.texts.is_written)
      throw_usage(
          "step {}: there is no text to train on, and what the model writes itself is too little: name one "
          "(--calibration.text, or data.text of the step)",
          step.name);
    args.push_back("--data.tokens=" + token_file_of(c));
  }
  for (std::string& option : options_of_kind(c, index)) args.push_back(std::move(option));
  args.insert(args.end(), own_options(step).begin(), own_options(step).end());
  return args;
}

ArgumentRules rules_of(const RecipeStep& step) {
  return {.command = "train",
          .options = all_options(),
          .switches = {},
          .needs_data = true,
          .given_by = "step " + step.name};
}

TrainingLoad load_of(const Compression& c, size_t index, const RunConfig& config) {
  const RecipeStep& step = c.arguments.recipe.steps[index];
  return {.tokens = config.train.steps * config.tokens_per_step() / std::max(1, config.parallel.data),
          .has_teacher = step.kind == StepKind::train && step.train.distills,
          .bytes = estimate_memory(memory_inputs(config, c.ctx.num_threads())).total()};
}

}  // namespace

RunArguments training_arguments(const Compression& c, size_t index, bool goes_on) {
  return parse_run_arguments(rules_of(c.arguments.recipe.steps[index]), call_of(c, index, goes_on),
                             c.world.size());
}

std::map<size_t, TrainingLoad> plan_trainings(Compression& c) {
  std::map<size_t, TrainingLoad> loads;
  const std::vector<RecipeStep>& steps = c.arguments.recipe.steps;
  ModelConfig config = c.files.config;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].kind == StepKind::cut) config = planned_config(config, numbers_of(steps[i].cut, config));
    if (steps[i].kind == StepKind::share) config = planned_config(config, steps[i].share);
    if (!trains(steps[i])) continue;
    together(c.world, [&] {
      if (c.is_first()) write_training_files(c, i, config);
    });
    together(c.world, [&] { loads[i] = load_of(c, i, training_arguments(c, i, false).config); });
  }
  return loads;
}

std::string train_model(Compression& c, size_t index) {
  const std::string directory = c.work.run_directory(index), trained = directory + "/model.safetensors";
  bool is_trained = false, goes_on = false;
  together(c.world, [&] {
    is_trained = fs::exists(trained);
    goes_on = fs::is_directory(directory + "/checkpoints");
  });
  if (is_trained) return trained;
  together(c.world, [&] {
    if (!c.is_first()) return;
    write_training_files(c, index, c.config);
    if (!goes_on) import_weights(*c.source, c.config, DType::f32, weights_file_of(c));
  });
  RunArguments arguments;
  together(c.world, [&] { arguments = training_arguments(c, index, goes_on); });
  RunLog log;
  Job job{.world = &c.world, .hosts = {}, .local_size = c.local_ranks, .device = c.ctx.device(), .log = &log};
  for (const Option& option : all_options()) job.options[option.key()] = option.value.get(arguments.config);
  c.line.end();
  c.base.reset();  // its memory is the training's, which may have it as a teacher
  train(arguments.config, write_config(arguments.config), job, c.out);
  load_base(c);
  return trained;
}

}  // namespace trireme::launch
