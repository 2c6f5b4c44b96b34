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

/// A run's configuration without [qat]: weights that are codes are trained through nothing.
std::string without_training(const fs::path& config_ini) {
  std::istringstream lines(read_text_file(config_ini.string()));
  std::string text, line;
  for (bool is_of_qat = false; std::getline(lines, line);) {
    if (line.starts_with('[')) is_of_qat = line.starts_with("[qat]");
    if (!is_of_qat) text += line + "\n";
  }
  return text;
}

fs::path run_with(const WeightPlace& place) {
  if (place.format == ModelFormat::checkpoint) return run_of(place.path);
  if (place.format == ModelFormat::own_file) return fs::absolute(place.path).parent_path();
  return {};
}

}  // namespace

void write_own_directory(const ModelFiles& files, const std::string& directory) {
  const fs::path into = directory;
  const WeightPlace place = find_weights(files.path);
  const fs::path run = run_with(place);
  std::error_code ignored;
  const bool has_config = !run.empty() && fs::exists(run / "config.ini", ignored);
  if (has_config) {
    write_file_atomically((into / "config.ini").string(), without_training(run / "config.ini"));
  } else {
    write_file_atomically((into / "config.ini").string(), own_config(files.config));
  }
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
