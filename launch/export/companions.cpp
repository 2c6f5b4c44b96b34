#include "launch/export/companions.h"

#include <filesystem>
#include <span>

#include <nlohmann/json.hpp>

#include "launch/export/tokenizer_export.h"
#include "models/formats/source_folder.h"
#include "runtime/base/error.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/io/gguf/gguf.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

using OrderedJson = nlohmann::ordered_json;

void copy_companions(const std::string& source, const std::string& directory) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(source, error)) {
    const std::string name = entry.path().filename().string();
    std::error_code none;
    if (!goes_with_model(name) || !entry.is_regular_file(none)) continue;  // links are followed
    if (name == "config.json" || name == "metadata.gguf") continue;
    fs::copy_file(entry.path(), fs::path(directory) / name, error);
    if (error)
      throw_environment("cannot copy {} to {}: {}", entry.path().string(), directory, error.message());
  }
  if (error) throw_environment("cannot read the directory {}: {}", source, error.message());
}

void write_json(const fs::path& file, const OrderedJson& json) {
  write_file_atomically(file.string(), json.dump(2) + "\n");
}

/// What a GGUF file says beside the tokens, as transformers has it.
void add_facts_of_gguf(const ExportedModel& model, OrderedJson& config) {
  const fs::path file = fs::path(model.source) / "metadata.gguf";
  std::error_code ignored;
  if (model.source.empty() || !fs::exists(file, ignored)) return;
  const GgufReader metadata(file.string());
  if (metadata.find("tokenizer.chat_template") != nullptr)
    config["chat_template"] = metadata.text("tokenizer.chat_template");
  if (metadata.find("tokenizer.ggml.bos_token_id") == nullptr) return;
  const auto begin = static_cast<int32_t>(metadata.integer("tokenizer.ggml.bos_token_id"));
  config["bos_token"] = load_tokenizer(model.tokenizer)->decode(std::span(&begin, 1));
}

void write_own_tokenizer(const ExportedModel& model, const fs::path& directory) {
  const TokenizerExport tokenizer = export_tokenizer(model.tokenizer);
  write_file_atomically((directory / "tokenizer.json").string(), tokenizer.json);
  OrderedJson config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                        {"model_max_length", model.config.max_positions},
                        {"clean_up_tokenization_spaces", false}};
  if (!tokenizer.end_token.empty()) config["eos_token"] = tokenizer.end_token;
  add_facts_of_gguf(model, config);
  if (!fs::exists(directory / "tokenizer_config.json"))
    write_json(directory / "tokenizer_config.json", config);
  if (tokenizer.end_id && !fs::exists(directory / "generation_config.json"))
    write_json(directory / "generation_config.json", {{"eos_token_id", *tokenizer.end_id}});
}

}  // namespace

std::vector<std::string> write_companions(const ExportedModel& model, const std::string& directory) {
  if (!model.source.empty()) copy_companions(model.source, directory);
  if (!tokenizer_in(directory).empty()) return {};
  if (!model.tokenizer.empty()) {
    write_own_tokenizer(model, directory);
    return {};
  }
  return {"no tokenizer is written: none lies beside the model; --source DIR names a directory with one"};
}

}  // namespace trireme::launch
