#include "models/formats/open_weights.h"

#include <filesystem>

#include "models/formats/gguf_config.h"
#include "models/formats/gguf_weights.h"
#include "models/formats/hf/weight_files.h"
#include "models/formats/hf_config.h"
#include "models/formats/hf_tensors.h"
#include "models/formats/hf_weights.h"
#include "models/formats/quantized/quantized_files.h"
#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/weights/checkpoint_weights.h"
#include "parallel/checkpoint/weights/initial_weights.h"
#include "parallel/checkpoint/weights/own_weights.h"
#include "runtime/base/error.h"
#include "runtime/io/files/mapped_file.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme {

namespace fs = std::filesystem;

namespace {

bool is_gguf(const std::string& file) { return MappedFile(file).text().starts_with("GGUF"); }

/// Files of this program say so, and had names of its own before they did.
bool is_own(const std::string& file) {
  const SafetensorsReader reader(file, is_hf_buffer);
  const auto format = reader.metadata().find("format");
  return (format != reader.metadata().end() && format->second == "trireme") ||
         reader.tensors().contains("embedding.tokens.weight");
}

WeightPlace find_in_file(const std::string& file) {
  if (is_gguf(file)) return {ModelFormat::gguf, file};
  if (hf::is_pickled(file)) hf::refuse_pickled(file);
  std::error_code error;
  const bool has_config = fs::exists(fs::path(file).parent_path() / "config.json", error);
  if (has_config && !is_own(file)) return {ModelFormat::hugging_face, file};
  return {ModelFormat::own_file, file};
}

}  // namespace

WeightPlace find_weights(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return find_in_file(path);
  const fs::path folder = path;
  const bool is_checkpoint = fs::exists(folder / kManifestName, error);
  if (!is_checkpoint && fs::exists(folder / "config.json", error)) return {ModelFormat::hugging_face, path};
  for (const char* pickled : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (!is_checkpoint && fs::exists(folder / pickled, error))
      hf::refuse_pickled((folder / pickled).string());
  }
  const std::string found = find_initial_weights(path);
  return {fs::is_directory(found, error) ? ModelFormat::checkpoint : ModelFormat::own_file, found};
}

std::optional<ModelConfig> model_of(const WeightPlace& place) {
  if (place.format == ModelFormat::gguf) return read_gguf_config(GgufReader(place.path));
  if (place.format != ModelFormat::hugging_face) return std::nullopt;
  std::error_code error;
  const fs::path path = place.path, folder = fs::is_directory(path, error) ? path : path.parent_path();
  const std::string config = (folder / "config.json").string();
  return read_hf_config(read_ordered_json(config), config).config;
}

std::string file_of(const WeightPlace& place) {
  std::error_code error;
  const bool is_folder = place.format == ModelFormat::hugging_face && fs::is_directory(place.path, error);
  return is_folder ? (fs::path(place.path) / "model.safetensors").string() : place.path;
}

std::unique_ptr<WeightSource> open_weights(const WeightPlace& place, const ModelConfig& config) {
  switch (place.format) {
    case ModelFormat::hugging_face:
      return open_hf_weights(place.path, config);
    case ModelFormat::gguf:
      return open_gguf_weights(place.path, config);
    case ModelFormat::own_file:
      return is_quantized(place.path) ? open_quantized(place.path, config) : open_own_weights(place.path);
    case ModelFormat::checkpoint:
      return open_checkpoint_weights(place.path);
  }
  return nullptr;
}

}  // namespace trireme
