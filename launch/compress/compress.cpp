#include "launch/compress/compress.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include <sys/resource.h>

#include "launch/compress/compression.h"
#include "launch/compress/compression_report.h"
#include "launch/compress/matrix_plans.h"
#include "launch/compress/prediction.h"
#include "launch/compress/training.h"
#include "launch/preflight/available_memory.h"
#include "launch/process/stop_request.h"
#include "launch/report/banner.h"
#include "launch/report/number_text.h"
#include "launch/report/progress.h"
#include "models/formats/mapped_weights.h"
#include "models/formats/open_weights.h"
#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/io/files/durable_file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// What tells one state of files from another without reading them all.
std::string signature(const std::string& path) {
  std::string text;
  std::error_code error;
  const auto add = [&](const fs::path& file) {
    const auto changed = fs::last_write_time(file, error).time_since_epoch().count();
    text += fmt::format("{}{} of {} bytes at {}", text.empty() ? "" : ", ", file.filename().string(),
                        fs::file_size(file, error), changed);
  };
  const WeightPlace place = find_weights(path);
  if (!fs::is_directory(place.path, error)) {
    add(place.path);
    return text;
  }
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(place.path, error)) {
    if (entry.is_regular_file(error) && entry.path().extension() != ".lock") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  for (const fs::path& file : files) add(file);
  return text;
}

std::string recipe_text(const Recipe& recipe) {
  std::string text;
  for (const RecipeStep& step : recipe.steps) text += fmt::format("[{}] {}; ", step.name, canonical(step));
  return text;
}

WorkIdentity work_identity(const CompressArguments& arguments, const TokenTexts& texts, int64_t seq_len,
                           const Measuring& measuring) {
  const Calibration& calibration = arguments.recipe.calibration;
  return {{"model", fs::absolute(arguments.model.path).lexically_normal().string()},
          {"the model's files", signature(arguments.model.path)},
          {"recipe", recipe_text(arguments.recipe)},
          {"calibration text", texts.calibration_from},
          {"--calibration.samples", fmt::to_string(calibration.samples)},
          {"--calibration.seq-len", fmt::to_string(seq_len)},
          {"--calibration.seed", fmt::to_string(calibration.seed)},
          {"--calibration.all-experts", calibration.all_experts ? "on" : "off"},
          {"evaluation text", texts.evaluation_from},
          {"--eval.tokens", fmt::to_string(measuring.ids.size())},
          {"--eval.seq-len", fmt::to_string(measuring.seq_len)},
          {"--precision", arguments.model.model.compute_type == DType::bf16 ? "bf16" : "f32"}};
}

void check_memory(Compression& c, const CompressionFacts& facts, int local_ranks) {
  together(c.world, [&] {
    const AvailableMemory available = available_memory(c.ctx.device());
    const int64_t need = facts.predicted_bytes * (c.ctx.device().type == DeviceType::cpu ? local_ranks : 1);
    // The base is there already.
    const int64_t more = need - need / 3;
    if (available.bytes > 0 && more > available.bytes)
      throw_environment(
          "about {} more are needed, and {} has {}: fewer or shorter samples (--calibration.samples, "
          "--calibration.seq-len), or more ranks (--tp, --pp)",
          short_bytes(static_cast<double>(more)), available.of,
          short_bytes(static_cast<double>(available.bytes)));
  });
}

void open_work(Compression& c, const WorkIdentity& identity) {
  together(c.world, [&] {
    if (c.is_first()) c.state = c.work.open(identity, c.arguments.restarts);
  });
  together(c.world, [&] { c.state = c.work.read(); });
}

void save_state(Compression& c) {
  together(c.world, [&] {
    if (c.is_first()) c.work.write(c.state);
  });
}

void measure_base(Compression& c) {
  if (c.state.base) return;
  const auto begin = Clock::now();
  StepFigures base = c.measured(*c.base);
  base.name = "base";
  base.what = c.base->loaded().formats;
  together(c.world, [&] { base.bytes = stored_bytes(c.files.path, c.config); });
  base.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  c.state.base = base;
  save_state(c);
}

/// What an earlier attempt made.
void take_step(Compression& c, size_t index) {
  const StepRecord& record = c.state.steps[index];
  c.say(figures_line(record.figures, *c.state.base));
  together(c.world, [&] {
    if (record.shared) c.config = fold_config(c.config, record.shared->sets);
    if (record.cut) c.config = cut_config(c.config, record.cut->cut, record.cut->kept);
    c.source = open_weights(find_weights(c.work.step_file(index)), c.config);
  });
}

StepRecord make_step(Compression& c, size_t index) {
  switch (c.arguments.recipe.steps[index].kind) {
    case StepKind::prune:
      return prune_step(c, index);
    case StepKind::cut:
      return cut_step(c, index);
    case StepKind::share:
      return share_step(c, index);
    case StepKind::train:
      return train_step(c, index);
    case StepKind::qat:
      return qat_step(c, index);
    case StepKind::quantize:
      break;
    case StepKind::export_model:
      TRIREME_CHECK(false, "exports come with the result");
  }
  return quantize_step(c, index);
}

/// Steps that make the model; those that write files for others come with the result.
void run_steps(Compression& c) {
  const std::vector<RecipeStep>& steps = c.arguments.recipe.steps;
  for (size_t i = 0; i < steps.size() && steps[i].kind != StepKind::export_model; ++i) {
    if (i < c.state.steps.size()) {
      take_step(c, i);
      continue;
    }
    c.end_if_asked();
    StepRecord record = make_step(c, i);
    pass_gate(c, steps[i], record.figures);
    c.state.steps.push_back(std::move(record));
    save_state(c);
  }
}

int64_t most_memory() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

/// What the process holds beside the base: libraries, texts, buffers of passes.
int64_t held_beside(const Compression& c) {
  if (c.ctx.device().type != DeviceType::cpu) return 0;
  return std::max<int64_t>(0, most_memory() - c.base->loaded().weight_bytes);
}

/// Fewer tokens than a matrix has inputs leave most directions of its inputs unseen.
void warn_of_few_tokens(Compression& c, int64_t seq_len) {
  const std::vector<RecipeStep>& steps = c.arguments.recipe.steps;
  if (std::ranges::none_of(steps, [](const RecipeStep& s) {
        return (s.kind == StepKind::quantize && needs_samples(s.quantize)) ||
               (s.kind == StepKind::prune && needs_samples(s.prune));
      }))
    return;
  int64_t inputs = 0;
  for (const Parameter& p : parameters_of(c.config)) {
    if (p.global_shape.rank() == 2 && p.name.starts_with("layers."))
      inputs = std::max(inputs, p.global_shape[1]);
  }
  const int64_t tokens = std::ssize(c.samples) * seq_len;
  if (tokens < inputs)
    c.say(
        fmt::format("note: {} tokens calibrate matrices of up to {} inputs: results are better with more "
                    "samples than that "
                    "(--calibration.samples, --calibration.text)",
                    tokens, inputs));
}

void predict_all(Compression& c, int64_t seq_len, CompressionFacts& facts) {
  WorkLoad load = measure_rates(c, seq_len);
  load.trainings = plan_trainings(c);
  Prediction prediction = predict(c.config, c.arguments.recipe, load, c.base->loaded().weight_bytes);
  prediction.bytes += held_beside(c);
  c.say("predicted   " + text_of(prediction));
  facts.predicted_seconds = prediction.seconds;
  facts.predicted_bytes = prediction.bytes;
}

void publish(Compression& c, const CompressionFacts& facts) {
  together(c.world, [&] {
    if (!c.is_first()) return;
    const std::string directory = c.work.result();
    write_file_atomically(directory + "/compression.json", compression_json(facts, c.state).dump(2) + "\n");
    write_file_atomically(directory + "/report.html", compression_page(facts, c.state));
    FileCalls calls;
    sync_directory(calls, directory);
    const std::string out = without_slash(c.arguments.out);
    check_out(out);
    rename_path(calls, directory, out);
    sync_directory(calls, fs::absolute(out).parent_path().string());
    c.work.remove();
  });
}

void say_result(Compression& c, const CompressionFacts& facts) {
  const auto made = std::ranges::find(c.arguments.recipe.steps, StepKind::export_model, &RecipeStep::kind) -
                    c.arguments.recipe.steps.begin();
  const StepFigures& last = c.state.steps[static_cast<size_t>(made) - 1].figures;
  c.say(fmt::format("{}: {}, {:.3f} of fp32; took {} (predicted {}), {} at most (predicted {})",
                    c.arguments.out, short_bytes(static_cast<double>(last.bytes)), last.size(),
                    short_duration(facts.seconds), short_duration(facts.predicted_seconds),
                    short_bytes(static_cast<double>(facts.bytes)),
                    short_bytes(static_cast<double>(facts.predicted_bytes))));
  if (last.tokens_per_second < c.state.base->tokens_per_second)
    c.say(fmt::format("note: it decodes at {:.2f}x the base's speed here: smaller, not faster",
                      last.tokens_per_second / c.state.base->tokens_per_second));
}

}  // namespace

void compress(Context& ctx, Communicator& world, const CompressArguments& arguments, int local_ranks,
              std::FILE* out) {
  const auto begin = Clock::now();
  Compression c{.ctx = ctx,
                .world = world,
                .arguments = arguments,
                .files = {},
                .config = {},
                .texts = {},
                .samples = {},
                .measuring = {},
                .work = WorkDirectory(without_slash(arguments.out) + ".partial"),
                .state = {},
                .line = WorkLine(out, is_watched(out)),
                .out = out,
                .local_ranks = local_ranks};
  read_model(c);
  const int64_t seq_len = prepare_texts(c);
  CompressionFacts facts{.model = arguments.model.path, .calibration = {}, .evaluation = {}};
  facts.calibration = fmt::format("{} of {} tokens: {}", counted(std::ssize(c.samples), "sample"), seq_len,
                                  c.texts.calibration_from);
  facts.evaluation = fmt::format("{} tokens in windows of {}: {}", grouped(std::ssize(c.measuring.ids)),
                                 c.measuring.seq_len, c.texts.evaluation_from);
  c.say(fmt::format("model       {}: {}", arguments.model.path, model_line(c.config)));
  c.say("calibration " + facts.calibration);
  c.say("evaluation  " + facts.evaluation);
  warn_of_few_tokens(c, seq_len);
  open_work(c, work_identity(arguments, c.texts, seq_len, c.measuring));
  try {
    predict_all(c, seq_len, facts);
    check_memory(c, facts, local_ranks);
    if (!c.state.steps.empty())
      c.say(fmt::format("going on: {} done", counted(std::ssize(c.state.steps), "step")));
    StopRequest::defer();
    measure_base(c);
    c.say(figures_header());
    c.say(figures_line(*c.state.base, *c.state.base));
    run_steps(c);
    write_result(c);
  } catch (const UserError& end) {
    // What the machine refused, or a signal, is to be gone on with; what the user must mend, is not.
    const bool is_final = end.code() == ExitCode::usage || end.code() == ExitCode::bad_input ||
                          (end.code() == ExitCode::resources && !c.state.base);
    if (is_final && c.is_first() && c.state.steps.empty()) c.work.remove();
    throw;
  }
  facts.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  facts.bytes = most_memory();
  publish(c, facts);
  say_result(c, facts);
}

}  // namespace trireme::launch
