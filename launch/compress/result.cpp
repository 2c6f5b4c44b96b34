// The result: put together, read back, exported.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "launch/compress/compression.h"
#include "launch/compress/own_directory.h"
#include "launch/export/export_model.h"
#include "models/formats/open_weights.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

/// Of the perplexity: the same weights by the same kernels give the same bits; the rest is for numbers that
/// formats keep in another type.
constexpr double kAllowedApart = 1e-4;

double perplexity_apart(const StepFigures& a, const StepFigures& b) {
  return std::abs(a.perplexity() / b.perplexity() - 1);
}

/// What the files at `path` compute.
StepFigures figures_of_files(Compression& c, const std::string& path, ops::Activations activations) {
  ModelFiles files;
  together(c.world, [&] { files = find_model_files(path, ""); });
  InferenceModel model(c.ctx, c.world, path, fitting(files.config, c.arguments.model),
                       c.model_options(activations));
  return c.measured(model);
}

[[noreturn]] void refuse_result(Compression& c, const std::string& what, const StepFigures& expected,
                                const StepFigures& got) {
  together(c.world, [&] {
    if (c.is_first()) c.work.remove();
  });
  throw AgreedEnd(ExitCode::numerics,
                  fmt::format("{}, read back, has perplexity {:.6f}, and the model in memory {:.6f}: {:.2g} "
                              "apart, {:.0e} are allowed. Nothing was kept",
                              what, got.perplexity(), expected.perplexity(), perplexity_apart(got, expected),
                              kAllowedApart));
}

ExportFormat format_of_step(const ExportStep& step) {
  if (step.format == "gguf") return ExportFormat::gguf;
  if (step.format == "gptq") return ExportFormat::gptq;
  return step.format == "awq" ? ExportFormat::awq : ExportFormat::compressed_tensors;
}

ExportType type_of_step(const ExportStep& step) {
  if (step.type == "q4_k_m") return ExportType::q4_k_m;
  if (step.type == "q4_0") return ExportType::q4_0;
  if (step.type == "q8_0") return ExportType::q8_0;
  return ExportType::fp16;  // of what is not quantized; more digits than bf16
}

std::string export_name(const ExportStep& step) {
  return step.format == "gguf" ? "model-" + step.type + ".gguf" : step.format;
}

/// GGUF has a format for all matrices, into which codes of others are rounded anew, as export_model() says;
/// what that costs is measured. The others hold the codes.
bool holds_codes(const ExportStep& step) { return step.format != "gguf"; }

/// export_model(), which names the file where it lies now, not where the result will.
void write_export(Compression& c, const ExportStep& step, const std::string& path) {
  char* text = nullptr;
  size_t size = 0;
  {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> said(::open_memstream(&text, &size), std::fclose);
    TRIREME_CHECK(said != nullptr, "no memory for the words of an export");
    export_model({.path = c.work.result(),
                  .out = path,
                  .format = format_of_step(step),
                  .type = type_of_step(step),
                  .has_type = true,
                  .num_threads = c.ctx.num_threads()},
                 said.get());
  }
  std::string words(text, size);
  std::free(text);
  if (const size_t at = words.find(path + "\n"); at != std::string::npos) words.erase(at);
  while (words.ends_with('\n')) words.pop_back();
  c.say(words);
}

void export_step(Compression& c, const RecipeStep& step, ops::Activations activations) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string path = c.work.result() + "/" + export_name(step.exported);
  together(c.world, [&] {
    if (!c.is_first()) return;
    write_export(c, step.exported, path);
  });
  const StepFigures in_memory = c.state.steps.back().figures;
  StepRecord record;
  record.figures = figures_of_files(c, path, activations);
  record.figures.name = step.name;
  record.figures.what = describe(step);
  together(c.world, [&] { record.figures.bytes = stored_bytes(path, c.config); });
  record.figures.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (holds_codes(step.exported) && !(perplexity_apart(record.figures, in_memory) <= kAllowedApart))
    refuse_result(c, path, in_memory, record.figures);
  pass_gate(c, step, record.figures);
  c.state.steps.push_back(std::move(record));
}

}  // namespace

void write_result(Compression& c) {
  const std::string directory = c.work.result();
  const Recipe& recipe = c.arguments.recipe;
  ops::Activations activations = ops::Activations::int8;
  size_t num_made = 0;
  for (const RecipeStep& step : recipe.steps) {
    if (step.kind == StepKind::export_model) break;
    if (step.kind == StepKind::quantize) activations = step.quantize.activations;
    ++num_made;
  }
  together(c.world, [&] {
    if (!c.is_first()) return;
    fs::remove_all(directory);  // of an attempt that was interrupted here
    fs::create_directory(directory);
    write_own_directory(c.files, c.config, directory);
    fs::copy_file(c.work.step_file(num_made - 1), directory + "/model.safetensors");
  });
  c.state.steps.resize(num_made);
  const StepFigures back = figures_of_files(c, directory, activations);
  const StepFigures& made = c.state.steps.back().figures;
  if (!(perplexity_apart(back, made) <= kAllowedApart))
    refuse_result(c, directory + "/model.safetensors", made, back);
  c.say(fmt::format("read back: perplexity {:.4f}, {:.1e} from the one in memory", back.perplexity(),
                    perplexity_apart(back, made)));
  for (size_t i = num_made; i < recipe.steps.size(); ++i) {
    c.end_if_asked();
    export_step(c, recipe.steps[i], activations);
  }
}

}  // namespace trireme::launch
