#include "launch/compress/own_directory.h"

#include <filesystem>
#include <set>
#include <sstream>

#include <fmt/ranges.h>

#include "launch/cli/config_file.h"
#include "launch/cli/options/option_table.h"
#include "launch/config/complete_config.h"
#include "launch/export/own_model.h"
#include "models/formats/open_weights.h"
#include "models/formats/source_folder.h"
#include "runtime/base/error.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/io/files/file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

/// A run of the model, as trireme import describes it.
std::string own_config(const ModelConfig& model) {
  RunConfig config;
  config.model = model;
  std::set<std::string> given;
  for (const Option& option : all_options()) {
    if (option.section == "model" || option.section == "moe") given.insert(option.key());
  }
  const std::vector<std::string> errors = complete(config, given, 1, false);
  if (!errors.empty()) throw_bad_input("the model cannot be described: {}", fmt::join(errors, "; "));
  return write_config(config);
}

/// The sections of an INI file that `takes`.
template <class Takes>
std::string sections_of(const std::string& ini, const Takes& takes) {
  std::istringstream lines(ini);
  std::string text, line;
  for (bool is_taken = true; std::getline(lines, line);) {
    if (line.starts_with('[')) is_taken = takes(line.substr(1, line.find(']') - 1));
    if (is_taken) text += line + "\n";
  }
  return text;
}

}  // namespace

std::string run_config_of(const std::string& model) {
  const WeightPlace place = find_weights(model);
  fs::path run;
  if (place.format == ModelFormat::checkpoint) run = run_of(place.path);
  if (place.format == ModelFormat::own_file) run = fs::absolute(place.path).parent_path();
  std::error_code ignored;
  if (run.empty() || !fs::exists(run / "config.ini", ignored)) return "";
  return (run / "config.ini").string();
}

std::string config_text(const ModelFiles& files, const ModelConfig& model) {
  const std::string of_run = run_config_of(files.path);
  if (of_run.empty()) return own_config(model);
  const bool is_same = model == files.config;
  const auto is_of_model = [](const std::string& name) { return name == "model" || name == "moe"; };
  const std::string others = sections_of(read_text_file(of_run), [&](const std::string& name) {
    // Weights that are codes are trained through nothing, and nothing is taken from them or taught to
    // them.
    return name != "qat" && name != "prune" && name != "distill" && (is_same || !is_of_model(name));
  });
  return is_same ? others : sections_of(own_config(model), is_of_model) + others;
}

void write_own_directory(const ModelFiles& files, const ModelConfig& model, const std::string& directory) {
  const fs::path into = directory;
  write_file_atomically((into / "config.ini").string(), config_text(files, model));
  if (!files.tokenizer.empty()) {
    const fs::path tokenizer = files.tokenizer;
    if (tokenizer.filename() == "tokenizer.json") {
      fs::copy_file(tokenizer, into / "tokenizer.json", fs::copy_options::overwrite_existing);
    } else {
      load_tokenizer(files.tokenizer)->save((into / "tokenizer.json").string());
    }
  }
  keep_source(files.path, directory);
}

}  // namespace trireme::launch
