#include "launch/cli/model_source.h"

#include <filesystem>

#include <fmt/format.h>

#include "launch/cli/ini_file.h"
#include "models/formats/model_differences.h"
#include "models/formats/open_weights.h"
#include "models/formats/source_folder.h"

namespace trireme::launch {

namespace fs = std::filesystem;

namespace {

bool describes_model(const std::string& key) {
  const bool is_of_model = key.starts_with("model.") || key.starts_with("moe.");
  return is_of_model && key != "model.init-from" && key != "model.load" && key != "moe.upcycle";
}

std::vector<Setting> settings_of(const ModelConfig& model, std::span<const Option> options,
                                 const std::string& where) {
  RunConfig config;
  config.model = model;
  std::vector<Setting> settings;
  for (const Option& option : options) {
    const std::string key = option.key();
    if (describes_model(key) && key != "model.preset")
      settings.push_back({key, option.value.get(config), where});
  }
  return settings;
}

void add_tokenizer(ModelSource& source, const fs::path& folder) {
  const std::string tokenizer = tokenizer_in(folder.string());
  if (!tokenizer.empty()) source.settings.push_back({"data.tokenizer", tokenizer, source.described_in});
}

ModelSource of_run(const fs::path& folder) {
  ModelSource source{.described_in = (folder / "config.ini").string(), .settings = {}, .model = {}};
  for (Setting& setting : read_ini(source.described_in).list) {
    if (describes_model(setting.key)) source.settings.push_back(std::move(setting));
  }
  add_tokenizer(source, folder);
  return source;
}

}  // namespace

std::optional<ModelSource> read_model_source(const std::string& path, std::span<const Option> options) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  const fs::path folder = fs::is_directory(path, error) ? fs::path(path) : fs::path(path).parent_path();
  const bool is_other = fs::exists(folder / "config.json", error) || !fs::is_directory(path, error);
  if (!is_other)
    return fs::exists(folder / "config.ini", error) ? std::optional(of_run(folder)) : std::nullopt;
  const WeightPlace place = find_weights(path);
  const std::optional<ModelConfig> model = model_of(place);
  if (!model) return std::nullopt;
  const bool is_gguf = place.format == ModelFormat::gguf;  // which holds all in one
  ModelSource source{
      .described_in = is_gguf ? path : (folder / "config.json").string(), .settings = {}, .model = model};
  source.settings = settings_of(*model, options, source.described_in);
  if (is_gguf) {
    source.settings.push_back({"data.tokenizer", path, path});
  } else {
    add_tokenizer(source, folder);
  }
  return source;
}

std::vector<std::string> contradictions(const ModelSource& source, const RunConfig& config) {
  if (!source.model) return {};
  ModelConfig asked = config.model, there = *source.model;
  if (config.start.upcycle) asked.moe = {};
  if (asked.vocab_size == 0) asked.vocab_size = there.vocab_size;
  std::vector<std::string> errors;
  for (const std::string& difference : model_differences(asked, there)) {
    errors.push_back(
        fmt::format("{}: the weights of --init-from are of another model; leave the option out, or state "
                    "what {} says",
                    difference, source.described_in));
  }
  return errors;
}

}  // namespace trireme::launch
