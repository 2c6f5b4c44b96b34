#include "models/formats/source_folder.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "models/formats/open_weights.h"
#include "runtime/base/error.h"
#include "runtime/io/gguf/gguf.h"
#include "runtime/io/gguf/gguf_writer.h"

namespace trireme {

namespace fs = std::filesystem;

namespace {

constexpr const char* kFolder = "source";

/// Where such files lie for these weights; empty where there are none.
fs::path source_of(const std::string& init_from) {
  const WeightPlace place = find_weights(init_from);
  std::error_code error;
  const bool is_directory = fs::is_directory(place.path, error);
  const fs::path folder = is_directory ? fs::path(place.path) : fs::path(place.path).parent_path();
  if (place.format == ModelFormat::hugging_face) return folder;
  // A run's directory, or its checkpoints/step-N.
  for (const fs::path& run : {folder, folder.parent_path().parent_path()}) {
    if (fs::is_directory(run / kFolder, error)) return run / kFolder;
  }
  return {};
}

}  // namespace

bool goes_with_model(std::string_view name) {
  for (const std::string_view known :
       {"config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
        "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
        "vocab.json", "merges.txt", "encoder.json", "vocab.bpe", "spiece.model", "tekken.json",
        "metadata.gguf"}) {
    if (name == known) return true;
  }
  if (name.ends_with(".tiktoken")) return true;
  std::string upper(name.substr(0, 16));
  std::ranges::transform(upper, upper.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  for (const std::string_view begin : {"LICENSE", "LICENCE", "NOTICE", "README", "USE_POLICY"}) {
    if (upper.starts_with(begin)) return true;
  }
  return false;
}

void keep_source(const std::string& init_from, const std::string& run_directory) {
  const fs::path to = fs::path(run_directory) / kFolder;
  std::error_code error;
  if (const WeightPlace place = find_weights(init_from); place.format == ModelFormat::gguf) {
    fs::create_directories(to, error);
    if (error) throw_environment("cannot create the directory {}: {}", to.string(), error.message());
    GgufWriter((to / "metadata.gguf").string(), {}, GgufReader(place.path).metadata()).commit();
    return;
  }
  const fs::path from = source_of(init_from);
  if (from.empty()) return;
  if (fs::equivalent(from, to, error)) return;
  fs::create_directories(to, error);
  if (error) throw_environment("cannot create the directory {}: {}", to.string(), error.message());
  for (const auto& entry : fs::directory_iterator(from, error)) {
    const std::string name = entry.path().filename().string();
    std::error_code none;
    if (!goes_with_model(name) || !entry.is_regular_file(none)) continue;  // links are followed
    fs::copy_file(entry.path(), to / name, fs::copy_options::overwrite_existing, error);
    if (error)
      throw_environment("cannot copy {} to {}: {}", entry.path().string(), to.string(), error.message());
  }
  if (error) throw_environment("cannot read the directory {}: {}", from.string(), error.message());
}

std::string tokenizer_in(const std::string& folder) {
  std::error_code error;
  if (fs::exists(fs::path(folder) / "tokenizer.json", error))
    return (fs::path(folder) / "tokenizer.json").string();
  for (const char* name : {"tekken.json", "tokenizer.model", "spiece.model", "encoder.json", "vocab.json"}) {
    if (fs::exists(fs::path(folder) / name, error)) return folder;
  }
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".tiktoken") return folder;
  }
  return "";
}

}  // namespace trireme
