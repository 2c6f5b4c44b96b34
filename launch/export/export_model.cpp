#include "launch/export/export_model.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "launch/export/check_export.h"
#include "launch/export/companions.h"
#include "launch/export/exported_model.h"
#include "launch/export/tokenizer_export.h"
#include "launch/export/unfinished_path.h"
#include "models/formats/gguf_config.h"
#include "models/formats/gguf_differences.h"
#include "models/formats/gguf_model_file.h"
#include "models/formats/gguf_weights.h"
#include "models/formats/hf_config.h"
#include "models/formats/hf_model_files.h"
#include "models/formats/hf_weights.h"
#include "models/formats/model_differences.h"
#include "models/formats/source_folder.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "parallel/checkpoint/weights/whole_tensors.h"
#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/gguf_tokenizer.h"
#include "runtime/io/files/atomic_file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

/// Of logits, relative to the largest: the same weights in the same order of operations give the same bits;
/// the rest allows for another instruction set when threads differ.
constexpr double kAllowed = 1e-6;
/// GGUF files keep constants (theta, epsilon, factors of frequencies) in fp32.
constexpr double kAllowedOfGguf = 1e-5;
constexpr const char* kNoVocabulary = "no_vocab";

const char* name_of(ExportType type) {
  constexpr const char* kNames[] = {"fp32", "bf16", "fp16", "q8_0"};
  return kNames[static_cast<size_t>(type)];
}

DType dtype_of(ExportType type) {
  if (type == ExportType::q8_0)
    throw_usage("--dtype q8_0 is for --format gguf; files of transformers are fp32, bf16 or fp16");
  return type == ExportType::bf16 ? DType::bf16 : type == ExportType::fp16 ? DType::f16 : DType::f32;
}

GgufType gguf_type(ExportType type) {
  constexpr GgufType kTypes[] = {GgufType::f32, GgufType::bf16, GgufType::f16, GgufType::q8_0};
  return kTypes[static_cast<size_t>(type)];
}

/// Compares what `expected` and the files compute, one model after the other. Returns a sentence.
std::string check_logits(const ExportOptions& options, const ModelConfig& config,
                         const ParameterValues& expected, const ModelConfig& read_config,
                         const WeightSource& read, double allowed) {
  const std::vector<float> mine = drawn_logits(config, [&](const Parameter& p, std::span<float> values) {
    const std::vector<float> whole = expected(p.name);
    std::ranges::copy(whole, values.begin());
  });
  const std::vector<float> back = drawn_logits(
      read_config, [&](const Parameter& p, std::span<float> values) { read.read(p.name, p, values); });
  const double apart = largest_difference(mine, back);
  if (!(apart <= allowed)) {
    throw_user(ExitCode::numerics,
               "{}: read back, it computes other logits than {}: {:.3g} of the largest apart, {:.0e} are "
               "allowed. Nothing was kept",
               options.out, options.path, apart, allowed);
  }
  return fmt::format(
      "read back: logits of {} drawn tokens are those of the checkpoint{}, {:.1e} of the largest apart",
      mine.size() / static_cast<size_t>(config.vocab_size),
      options.type == ExportType::fp32 ? "" : fmt::format(" rounded to {}", name_of(options.type)), apart);
}

void report(const ExportOptions& options, const std::vector<std::string>& notes, const std::string& checked,
            std::FILE* out) {
  for (const std::string& note : notes) fmt::print(out, "note: {}\n", note);
  fmt::print(out, "{}\n", checked.empty() ? "not read back: --check off" : checked);
  fmt::print(out, "{}\n", options.out);
}

void export_hf(const ExportOptions& options, const ExportedModel& model, std::FILE* out) {
  std::error_code ignored;
  if (fs::exists(options.out, ignored) &&
      !(fs::is_directory(options.out, ignored) && fs::is_empty(options.out)))
    throw_usage("{} is there already; give a directory that is not, or an empty one", options.out);
  const DType dtype = dtype_of(options.type);
  const fs::path original = fs::path(model.source) / "config.json";
  const bool has_original = !model.source.empty() && fs::exists(original, ignored);
  const nlohmann::ordered_json config = write_hf_config(
      model.config, has_original ? read_ordered_json(original.string()) : nlohmann::ordered_json(), dtype,
      model.config.vocab_size);
  const std::string architecture = config.at("architectures").at(0).get<std::string>();
  UnfinishedPath unfinished(options.out);
  unfinished.make_directory();
  const std::string& directory = unfinished.name();
  const std::vector<std::string> notes = write_companions(model, directory);
  write_file_atomically(directory + "/config.json", config.dump(2) + "\n");
  write_hf_weights(directory, model.config, architecture, dtype, options.shard_bytes, model.values);
  std::string checked;
  if (options.check) {
    const std::string file = directory + "/config.json";
    const ModelConfig back = read_hf_config(read_ordered_json(file), file).config;
    const auto differences = model_differences(model.config, back);
    if (!differences.empty())
      throw_user(ExitCode::numerics, "{}: read back, config.json is of another model: {}", options.out,
                 fmt::join(differences, "; "));
    checked =
        check_logits(options, model.config, rounded_as_hf(model.config, architecture, dtype, model.values),
                     back, *open_hf_weights(directory, back), kAllowed);
  }
  unfinished.finish();
  report(options, notes, checked, out);
}

/// llama.cpp takes as many tokens as the token table has rows.
void check_token_count(const ExportedModel& model, const GgufMetadata& original) {
  for (const auto& [key, value] : original) {
    const auto* tokens = std::get_if<std::vector<std::string>>(&value);
    if (key != "tokenizer.ggml.tokens" || tokens == nullptr) continue;
    if (std::ssize(*tokens) == model.config.vocab_size) continue;
    throw_usage(
        "model.vocab is {}, and {}/metadata.gguf has {} tokens: a GGUF file needs as many; --source DIR "
        "names the "
        "directory of a tokenizer, to which unused tokens are added",
        model.config.vocab_size, model.source, tokens->size());
  }
}

/// tokenizer.* of the files beside the model, or of the run's own tokenizer.
GgufMetadata tokenizer_keys(const ExportedModel& model, const GgufMetadata& original,
                            const std::string& beside, std::vector<std::string>& notes) {
  const auto is_of_tokenizer = [](const auto& entry) { return entry.first.starts_with("tokenizer."); };
  if (!model.source.empty() && !tokenizer_in(model.source).empty())
    return gguf_tokenizer_metadata(model.source, model.config.vocab_size);
  if (std::ranges::any_of(original, is_of_tokenizer)) {  // kept
    check_token_count(model, original);
    return {};
  }
  if (!model.tokenizer.empty() && !is_own_kind(model.tokenizer))
    return gguf_tokenizer_metadata(model.tokenizer, model.config.vocab_size);
  if (!model.tokenizer.empty()) {
    UnfinishedPath directory(beside + ".tokenizer");
    directory.make_directory();
    ExportedModel own = model;
    own.source.clear();
    write_companions(own, directory.name());
    return gguf_tokenizer_metadata(directory.name(), model.config.vocab_size);
  }
  notes.emplace_back(
      "no tokenizer is written: none lies beside the model; --source DIR names a directory with one");
  return {{"tokenizer.ggml.model", std::string(kNoVocabulary)}};
}

/// For people: what config.json says the model was loaded from. Not the family: where a name has "phi3" in
/// it, llama.cpp needs the tokens of that tokenizer.
std::string name_of(const ExportedModel& model) {
  const fs::path file = fs::path(model.source) / "config.json";
  std::error_code ignored;
  if (!model.source.empty() && fs::exists(file, ignored)) {
    const nlohmann::ordered_json config = read_ordered_json(file.string());
    const auto loaded_from = config.find("_name_or_path");
    if (loaded_from != config.end() && loaded_from->is_string()) {
      std::string name = fs::path(loaded_from->get<std::string>()).filename().string();
      if (!name.empty()) return name;
    }
  }
  return "model";
}

GgufMetadata original_metadata(const ExportedModel& model) {
  const std::string file = (fs::path(model.source) / "metadata.gguf").string();
  std::error_code ignored;
  if (!model.source.empty() && fs::exists(file, ignored)) return GgufReader(file).metadata();
  return {};
}

void export_gguf(const ExportOptions& options, const ExportedModel& model, std::FILE* out) {
  std::error_code ignored;
  if (fs::is_directory(options.out, ignored))
    throw_usage("{} is a directory; give the name of a file", options.out);
  const GgufType type = gguf_type(options.type);
  const GgufModel described = write_gguf_config(model.config);
  std::vector<std::string> notes = described.notes;
  GgufMetadata original = original_metadata(model);
  const GgufMetadata tokenizer = tokenizer_keys(model, original, options.out, notes);
  const bool is_new = original.empty();
  GgufMetadata metadata = gguf_metadata(described, type, original, tokenizer);
  if (is_new) metadata.insert(metadata.begin() + 1, {"general.name", name_of(model)});
  UnfinishedPath unfinished(options.out);
  write_gguf_model(unfinished.name(), model.config, described, metadata, type, model.values);
  std::string checked;
  if (options.check) {
    const ModelConfig back = read_gguf_config(GgufReader(unfinished.name()));
    const auto differences = gguf_differences(model.config, back);
    if (!differences.empty())
      throw_user(ExitCode::numerics, "{}: read back, it is of another model: {}", options.out,
                 text_of(differences));
    checked =
        check_logits(options, model.config, rounded_as_gguf(model.config, described, type, model.values),
                     back, *open_gguf_weights(unfinished.name(), back), kAllowedOfGguf);
  }
  unfinished.finish();
  report(options, notes, checked, out);
}

void export_own(const ExportOptions& options, const ExportedModel& model, std::FILE* out) {
  if (options.type != ExportType::fp32)
    throw_usage("--dtype {}: --format trireme is fp32; hf and gguf have other types", name_of(options.type));
  if (model.checkpoint.empty()) throw_usage("{} is what --format trireme would write; copy it", model.path);
  export_weights(WholeTensors(model.checkpoint), options.out);
  fmt::print(out, "{}\n", options.out);
}

}  // namespace

ExportFormat format_of(const std::string& out) {
  if (out.ends_with(".safetensors")) return ExportFormat::trireme;
  return out.ends_with(".gguf") ? ExportFormat::gguf : ExportFormat::hf;
}

void export_model(const ExportOptions& options, std::FILE* out) {
  const ExportedModel model = open_exported(options.path, options.source);
  switch (options.format.value_or(format_of(options.out))) {
    case ExportFormat::trireme:
      return export_own(options, model, out);
    case ExportFormat::hf:
      return export_hf(options, model, out);
    case ExportFormat::gguf:
      return export_gguf(options, model, out);
  }
}

}  // namespace trireme::launch
