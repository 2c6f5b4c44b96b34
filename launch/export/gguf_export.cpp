#include "launch/export/gguf_export.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "launch/export/companions.h"
#include "launch/export/export_report.h"
#include "launch/export/tokenizer_export.h"
#include "launch/export/unfinished_path.h"
#include "models/formats/gguf_config.h"
#include "models/formats/gguf_differences.h"
#include "models/formats/gguf_model_file.h"
#include "models/formats/gguf_weights.h"
#include "models/formats/hf_config.h"
#include "models/formats/hf_model_files.h"
#include "models/formats/source_folder.h"
#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/gguf_tokenizer.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

/// Of logits, relative to the largest: GGUF files keep constants (theta, epsilon, factors of frequencies) in
/// fp32.
constexpr double kAllowedOfGguf = 1e-5;
constexpr const char* kNoVocabulary = "no_vocab";

GgufFileType file_type(ExportType type) {
  using enum GgufFileType;
  constexpr GgufFileType kTypes[] = {f32, bf16, f16, q8_0, q4_0, q4_k_m};
  return kTypes[static_cast<size_t>(type)];
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
std::string name_of_model(const ExportedModel& model) {
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

/// What became of codes, where there were some.
void add_note_of_codes(const GgufCodesReport& report, const char* type, std::vector<std::string>& notes) {
  if (report.kept + report.rounded == 0) return;
  std::string note = fmt::format("{} matrices keep their codes", report.kept);
  if (report.rounded > 0)
    note += fmt::format(", {} are rounded anew, since {} does not hold them", report.rounded, type);
  if (report.largest > 0)
    note += fmt::format("; largest change {:.2g} of the largest value of {}", report.largest, report.name);
  notes.push_back(note);
}

std::string check_gguf(const ExportOptions& options, const ExportedModel& model, const GgufModel& described,
                       const GgufContent& content, const std::string& file) {
  const ModelConfig back = read_gguf_config(GgufReader(file));
  const auto differences = gguf_differences(model.config, back);
  if (!differences.empty())
    throw_user(ExitCode::numerics, "{}: read back, it is of another model: {}", options.out,
               text_of(differences));
  return check_logits(options, model.config,
                      rounded_as_gguf(model.config, described, file_type(options.type), content), back,
                      *open_gguf_weights(file, back), kAllowedOfGguf);
}

}  // namespace

void export_gguf(const ExportOptions& options, const ExportedModel& model, const InputImportance& importance,
                 std::FILE* out) {
  std::error_code ignored;
  if (fs::is_directory(options.out, ignored))
    throw_usage("{} is a directory; give the name of a file", options.out);
  const GgufFileType type = file_type(options.type);
  const GgufModel described = write_gguf_config(model.config);
  std::vector<std::string> notes = described.notes;
  GgufMetadata original = original_metadata(model);
  const GgufMetadata tokenizer = tokenizer_keys(model, original, options.out, notes);
  const bool is_new = original.empty();
  GgufMetadata metadata = gguf_metadata(described, type, original, tokenizer);
  if (is_new) metadata.insert(metadata.begin() + 1, {"general.name", name_of_model(model)});
  const GgufContent content{model.values, model.codes, importance, options.num_threads};
  UnfinishedPath unfinished(options.out);
  add_note_of_codes(write_gguf_model(unfinished.name(), model.config, described, metadata, type, content),
                    name_of(options.type), notes);
  std::string checked;
  if (options.check) checked = check_gguf(options, model, described, content, unfinished.name());
  unfinished.finish();
  report_export(options, notes, checked, out);
}

}  // namespace trireme::launch
