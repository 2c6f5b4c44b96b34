#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/cli/config_file.h"
#include "launch/cli/help_text.h"
#include "launch/cli/options/option_table.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/config/complete_config.h"
#include "launch/report/banner.h"
#include "models/formats/import_weights.h"
#include "models/formats/open_weights.h"
#include "models/formats/source_folder.h"
#include "runtime/base/error.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/io/files/durable_file.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

struct ImportArguments {
  std::string source, directory;
  DType dtype = DType::f32;
};

std::vector<PlainOption> import_options(ImportArguments& arguments) {
  return {{"dtype", "fp32|bf16", "type of the weights in model.safetensors; bf16 rounds to nearest even",
           "fp32", [&arguments](const std::string& text) -> std::string {
             if (text != "fp32" && text != "bf16") return "fp32 or bf16";
             arguments.dtype = text == "bf16" ? DType::bf16 : DType::f32;
             return "";
           }}};
}

std::string import_help(std::span<const PlainOption> options) {
  return fmt::format(
      "usage: trireme import SOURCE RUN_DIR [options]\n\n"
      "  trireme import SmolLM2-135M runs/smollm2\n"
      "  trireme train --init-from runs/smollm2 --data.text book.txt --train.seq-len 512\n\n"
      "SOURCE is a directory of Hugging Face's transformers (config.json, and model.safetensors or its "
      "index), one\n"
      "safetensors file in it, or a GGUF file of llama.cpp. RUN_DIR, which must not exist, gets config.ini, "
      "model.safetensors, "
      "tokenizer.json and\n"
      "in source/ what lay beside the weights: configuration, tokenizer, licence. docs/models.md and "
      "docs/gguf.md\n"
      "have the architectures.\n\n"
      "{}",
      help_plain(options));
}

/// A directory beside the wanted one, which is gone again unless it was given its name.
class UnfinishedRun {
 public:
  explicit UnfinishedRun(const std::string& wanted) : wanted_(wanted), path_(wanted + ".importing") {
    std::error_code error;
    if (fs::exists(wanted_, error)) throw_usage("{} exists already: name a new directory", wanted_);
    if (fs::exists(path_, error))
      throw_usage("{} exists already, of an import that was killed or still runs: remove it if none does",
                  path_);
    fs::create_directories(path_, error);
    if (error) throw_usage("cannot create the directory {}: {}", path_, error.message());
  }
  ~UnfinishedRun() {
    std::error_code error;
    if (!is_finished_) fs::remove_all(path_, error);
  }
  UnfinishedRun(const UnfinishedRun&) = delete;
  UnfinishedRun& operator=(const UnfinishedRun&) = delete;

  std::string file(const char* name) const { return (fs::path(path_) / name).string(); }
  const std::string& path() const { return path_; }
  void finish() {
    FileCalls calls;
    sync_directory(calls, path_);
    rename_path(calls, path_, wanted_);
    is_finished_ = true;
    const fs::path parent = fs::absolute(wanted_).parent_path();
    sync_directory(calls, parent.string());
  }

 private:
  std::string wanted_, path_;
  bool is_finished_ = false;
};

/// What the weights' tokenizer is read from: tokenizer.json, a directory with another's files, a GGUF file.
/// Empty where there is none.
fs::path tokenizer_of(const WeightPlace& place) {
  if (place.format == ModelFormat::gguf) return place.path;
  return tokenizer_in(fs::path(file_of(place)).parent_path().string());
}

/// Puts tokenizer.json into the run. False, with the reason told, where there is none that can be read.
bool import_tokenizer(const WeightPlace& place, const UnfinishedRun& run) {
  const fs::path from = tokenizer_of(place);
  if (from.empty()) {
    fmt::print("note: {} has no tokenizer: name one in training (--data.tokenizer PATH)\n", place.path);
    return false;
  }
  try {
    const auto tokenizer = load_tokenizer(from.string());
    if (from.filename() == "tokenizer.json") {
      fs::copy_file(from, run.file("tokenizer.json"));
    } else {
      tokenizer->save(run.file("tokenizer.json"));
    }
    return true;
  } catch (const UserError& unreadable) {
    fmt::print("note: the tokenizer was not imported: {}\n", unreadable.what());
    return false;
  }
}

RunConfig config_of(const ModelConfig& model, const std::string& tokenizer) {
  RunConfig config;
  config.model = model;
  if (!tokenizer.empty()) config.data.tokenizer = tokenizer;
  std::set<std::string> given;
  for (const Option& option : all_options()) {
    if (option.section == "model" || option.section == "moe") given.insert(option.key());
  }
  const std::vector<std::string> errors = complete(config, given, 1, false);
  if (!errors.empty()) throw_bad_input("the model cannot be trained: {}", fmt::join(errors, "; "));
  return config;
}

void import(const ImportArguments& arguments) {
  const WeightPlace place = find_weights(arguments.source);
  const std::optional<ModelConfig> model = model_of(place);
  if (!model)
    throw_usage("{} is not another program's model: --init-from takes it as it is", arguments.source);
  const auto weights = open_weights(place, *model);
  UnfinishedRun run(arguments.directory);
  import_weights(*weights, *model, arguments.dtype, run.file("model.safetensors"));
  const bool has_tokenizer = import_tokenizer(place, run);
  const fs::path tokenizer = fs::absolute(arguments.directory) / "tokenizer.json";
  const RunConfig config = config_of(*model, has_tokenizer ? tokenizer.lexically_normal().string() : "");
  write_file_atomically(run.file("config.ini"), write_config(config));
  keep_source(arguments.source, run.path());
  run.finish();
  fmt::print("model  {}\n{}: train it with --init-from {}\n", model_line(config.model), arguments.directory,
             arguments.directory);
}

}  // namespace

void run_import(std::span<const std::string> args, const RankPlace& place) {
  if (place.rank != 0) return;
  ImportArguments arguments;
  const std::vector<PlainOption> options = import_options(arguments);
  if (asks_for_help(args)) {
    fmt::print("{}", import_help(options));
    return;
  }
  std::vector<std::string> errors;
  std::vector<std::string> paths = parse_plain_arguments("import", options, args, errors);
  if (errors.empty() && paths.size() != 2)
    errors.push_back(fmt::format("import takes SOURCE and RUN_DIR, given {} of them", paths.size()));
  if (!errors.empty()) throw_errors(errors, "import");
  for (std::string& path : paths) {
    while (path.size() > 1 && path.back() == '/') path.pop_back();
  }
  arguments.source = paths[0];
  arguments.directory = paths[1];
  import(arguments);
}

}  // namespace trireme::launch
