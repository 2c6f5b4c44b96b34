#include "models/formats/hf_weights.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include <fmt/ranges.h>

#include "models/formats/hf/architecture.h"
#include "models/formats/hf/weight_files.h"
#include "models/formats/hf_config.h"
#include "models/formats/hf_tensors.h"
#include "models/formats/mapped_weights.h"
#include "models/formats/quantized/coded_tensors.h"
#include "models/formats/quantized/find_codes.h"
#include "models/formats/quantized/quantization_config.h"
#include "runtime/base/error.h"

namespace trireme {

namespace fs = std::filesystem;

namespace {

void rename(TensorMap& map, const std::string& from, const std::string& to) {
  for (StoredTensorShape& tensor : map.tensors) {
    if (tensor.name == from) tensor.name = to;
  }
  for (auto& [parameter, place] : map.places) {
    if (place.tensor == from) place.tensor = to;
  }
}

/// Files of the model without its head have names without the model's own prefix.
void follow_prefix(TensorMap& map, const CodedTensors& files, std::string_view base) {
  const std::string embedding = map.places.find("embedding.tokens.weight")->second.tensor;
  if (files.has(embedding) || !files.has(embedding.substr(base.size()))) return;
  const auto strip = [&](std::string& name) {
    if (name.starts_with(base)) name.erase(0, base.size());
  };
  for (StoredTensorShape& tensor : map.tensors) strip(tensor.name);
  for (auto& [parameter, place] : map.places) strip(place.tensor);
}

/// GPT-NeoX has had two names of its head.
constexpr const char* kHeads[] = {"lm_head.weight", "embed_out.weight"};

void follow_head(TensorMap& map, const CodedTensors& files) {
  const auto head = map.places.find("head.weight");
  if (head == map.places.end() || files.has(head->second.tensor)) return;
  for (const char* name : kHeads) {
    if (files.has(name)) return rename(map, std::string(head->second.tensor), name);
  }
}

/// A tied matrix may be there twice, if it is the same.
void hide_tied_head(const TensorMap& map, CodedTensors& files, const std::string& path) {
  if (map.places.contains("head.weight")) return;
  const std::string& embedding = map.places.find("embedding.tokens.weight")->second.tensor;
  const auto table = files.tensors.find(embedding);
  for (const char* name : kHeads) {
    if (files.codes.contains(name)) {
      throw_bad_input(
          "{}: {} is quantized by itself, but the model has tied embeddings (tie_word_embeddings), and one "
          "matrix is read for both",
          path, name);
    }
    const auto head = files.tensors.find(name);
    if (head == files.tensors.end() || table == files.tensors.end()) continue;
    const auto &a = head->second.bytes, &b = table->second.bytes;
    const bool is_equal = a.size() == b.size() && head->second.dtype == table->second.dtype &&
                          (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
    if (!is_equal)
      throw_bad_input("{}: {} differs from {}, but the model has tied embeddings (tie_word_embeddings)", path,
                      name, embedding);
    files.parts.insert(name);
  }
}

/// Biases that hold nothing, of layers that have none.
void hide_empty_biases(const TensorMap& map, CodedTensors& files) {
  for (const std::string& name : files.empty_biases) {
    if (std::ranges::find(map.tensors, name, &StoredTensorShape::name) == map.tensors.end())
      files.parts.insert(name);
  }
}

void refuse_transposed(const TensorMap& map, const CodedTensors& files, const std::string& path) {
  for (const auto& [parameter, place] : map.places) {
    if (!place.transposed || !files.codes.contains(place.tensor)) continue;
    throw_bad_input(
        "{}: {} is quantized, and is stored transposed (Conv1D): such layers are read as numbers alone; load "
        "the model with transformers, call dequantize() and save it, or take a GGUF file",
        path, place.tensor);
  }
}

CodedTensors coded_tensors(hf::WeightFiles opened, const hf::Json& json, const std::string& path) {
  CodedTensors all;
  const auto files = std::make_shared<const hf::WeightFiles>(std::move(opened));
  all.files = files;
  all.release_pages = [files] { files->release_pages(); };
  all.tensors = files->tensors();
  std::vector<std::string> errors;
  const hf::HfKeys keys(json, errors);
  if (keys.find("quantization_config") == nullptr) return all;
  const FileQuantization config = read_quantization_config(keys);
  if (!errors.empty()) throw_bad_input("{}: {}", path, fmt::join(errors, "; "));
  find_codes(all, config, path);
  return all;
}

}  // namespace

std::unique_ptr<WeightSource> open_hf_weights(const std::string& path, const ModelConfig& config) {
  std::error_code error;
  const bool is_file = !fs::is_directory(path, error);
  const fs::path folder = is_file ? fs::path(path).parent_path() : fs::path(path);
  const std::string config_path = (folder / "config.json").string();
  const hf::Json json = read_ordered_json(config_path);
  const hf::HfArchitecture& architecture = hf::hf_architecture_in(json, config_path);
  CodedTensors files =
      coded_tensors(is_file ? hf::WeightFiles::of_file(path) : hf::WeightFiles(path), json, path);
  TensorMap map = hf_tensor_map(config, architecture.name);
  follow_prefix(map, files, architecture.base);
  follow_head(map, files);
  hide_tied_head(map, files, path);
  hide_empty_biases(map, files);
  refuse_transposed(map, files, path);
  return mapped_weights(raw_coded_tensors(std::move(files), path), std::move(map), config, path);
}

}  // namespace trireme
