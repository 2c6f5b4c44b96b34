#include "launch/generate/model_files.h"

#include <filesystem>
#include <optional>
#include <span>

#include "launch/export/own_model.h"
#include "models/formats/open_weights.h"
#include "models/formats/quantized/own_quantization.h"
#include "models/formats/source_folder.h"
#include "parallel/checkpoint/weights/whole_tensors.h"
#include "runtime/base/error.h"
#include "runtime/data/tokenizer/files/tokenizer_config.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/io/gguf/gguf.h"
#include "runtime/io/json/json_file.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

constexpr const char* kTokenTable = "embedding.tokens.weight";

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// The vocabulary is what the token table has.
void open_checkpoint(ModelFiles& files, const std::string& path) {
  const WholeTensors tensors(path);
  files.config = model_of_options(tensors.manifest().state.config, path);
  files.config.quantization = quantization_of_options(tensors.manifest().state.config, path);
  const auto table = tensors.tensors().find(kTokenTable);
  if (table != tensors.tensors().end() && table->second.shape.rank() == 2)
    files.config.vocab_size = table->second.shape[0];
}

void open_own_file(ModelFiles& files, const std::string& path) {
  const fs::path config_ini = fs::path(path).parent_path() / "config.ini";
  if (!is_there(config_ini)) {
    throw_bad_input(
        "{}: there is no config.ini beside it, which would say what model it is; give a run's directory or "
        "a checkpoint, or keep the run's config.ini and tokenizer.json beside the file",
        path);
  }
  files.config = model_of_ini(config_ini.string());
  files.config.quantization = quantization_of_ini(config_ini.string());
  const auto rows = token_table_rows(SafetensorsReader(path));
  if (rows) files.config.vocab_size = *rows;
}

/// Of a run: its tokenizer, and what came with the model that it began with.
void add_companions(ModelFiles& files, const fs::path& run) {
  if (run.empty()) return;
  if (is_there(run / "tokenizer.json")) files.tokenizer = (run / "tokenizer.json").string();
  const fs::path source = run / "source";
  if (is_there(source / "metadata.gguf")) {
    files.gguf = (source / "metadata.gguf").string();
  } else if (is_there(source)) {
    files.folder = source.string();
  }
}

std::vector<int32_t> ids_of(const nlohmann::json& value, const std::string& file) {
  std::vector<int32_t> ids;
  const nlohmann::json list = value.is_array() ? value : nlohmann::json::array({value});
  for (const auto& id : list)
    ids.push_back(static_cast<int32_t>(json_index(id, INT32_MAX, "\"eos_token_id\"", file)));
  return ids;
}

std::vector<int32_t> ends_of_folder(const std::string& folder) {
  if (folder.empty()) return {};
  std::vector<int32_t> ends = read_tokenizer_config(folder).stop_ids;
  const std::string file = (fs::path(folder) / "config.json").string();
  if (!ends.empty() || !is_there(file)) return ends;
  const nlohmann::json config = read_json_file(file);
  const auto id = config.find("eos_token_id");
  return id == config.end() || id->is_null() ? ends : ids_of(*id, file);
}

std::vector<int32_t> ends_of_gguf(const std::string& file) {
  std::vector<int32_t> ends;
  if (file.empty()) return ends;
  const GgufReader gguf(file);
  for (const char* role : {"eos", "eot", "eom"}) {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", role);
    if (gguf.find(key) == nullptr) continue;
    const int64_t id = gguf.integer(key);
    if (id >= 0 && id <= INT32_MAX) ends.push_back(static_cast<int32_t>(id));
  }
  return ends;
}

ChatTemplateText template_of_gguf(const std::string& file, const Tokenizer& tokenizer) {
  const GgufReader gguf(file);
  ChatTemplateText chat;
  if (gguf.find("tokenizer.chat_template") == nullptr) return chat;
  chat.text = gguf.text("tokenizer.chat_template");
  chat.where = file + ": tokenizer.chat_template";
  for (const char* role : {"bos", "eos", "unknown", "padding"}) {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", role);
    if (gguf.find(key) == nullptr) continue;
    const int64_t id = gguf.integer(key);
    if (id < 0 || id >= tokenizer.vocab_size()) continue;
    const auto token = static_cast<int32_t>(id);
    const std::string name = role == std::string("unknown")   ? "unk"
                             : role == std::string("padding") ? "pad"
                                                              : role;
    chat.variables[name + "_token"] = tokenizer.decode(std::span(&token, 1));
  }
  return chat;
}

}  // namespace

ModelFiles find_model_files(const std::string& path, const std::string& tokenizer) {
  const WeightPlace place = find_weights(path);
  ModelFiles files{.path = path, .config = {}, .tokenizer = {}, .folder = {}, .gguf = {}};
  switch (place.format) {
    case ModelFormat::gguf:
      files.config = *model_of(place);
      files.tokenizer = files.gguf = place.path;
      break;
    case ModelFormat::hugging_face:
      files.config = *model_of(place);
      files.folder = fs::path(file_of(place)).parent_path().string();
      if (files.folder.empty()) files.folder = ".";
      files.tokenizer = tokenizer_in(files.folder);
      break;
    case ModelFormat::checkpoint:
      open_checkpoint(files, place.path);
      add_companions(files, run_of(place.path));
      break;
    case ModelFormat::own_file:
      open_own_file(files, place.path);
      add_companions(files, run_of(fs::absolute(place.path).parent_path()));
      break;
  }
  if (!tokenizer.empty()) files.tokenizer = tokenizer;
  return files;
}

std::unique_ptr<Tokenizer> tokenizer_of(const ModelFiles& files) {
  return files.tokenizer.empty() ? nullptr : load_tokenizer(files.tokenizer);
}

std::vector<int32_t> end_tokens_of(const ModelFiles& files, const Tokenizer* tokenizer) {
  std::vector<int32_t> ends = ends_of_folder(files.folder);
  if (ends.empty()) ends = ends_of_gguf(files.gguf);
  if (ends.empty() && tokenizer != nullptr && tokenizer->end_of_text())
    ends.push_back(*tokenizer->end_of_text());
  return ends;
}

ChatTemplateText chat_template_of(const ModelFiles& files, const Tokenizer& tokenizer) {
  if (!files.gguf.empty()) return template_of_gguf(files.gguf, tokenizer);
  ChatTemplateText chat;
  if (files.folder.empty()) return chat;
  const TokenizerConfig config = read_tokenizer_config(files.folder);
  chat.text = config.chat_template;
  chat.where = files.folder + ": chat_template";
  for (const auto& [role, content] : config.roles) chat.variables[role + "_token"] = content;
  return chat;
}

}  // namespace trireme::launch
