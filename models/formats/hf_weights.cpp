#include "models/formats/hf_weights.h"

#include <cstring>
#include <filesystem>

#include "models/formats/hf/architecture.h"
#include "models/formats/hf/weight_files.h"
#include "models/formats/hf_config.h"
#include "models/formats/hf_tensors.h"
#include "models/formats/mapped_weights.h"
#include "runtime/base/error.h"
#include "runtime/io/safetensors/float_block.h"

namespace trireme {

namespace fs = std::filesystem;

namespace {

class RawSafetensors final : public RawTensors {
 public:
  explicit RawSafetensors(hf::WeightFiles files) : files_(std::move(files)) {}

  std::map<std::string, RawTensor, std::less<>> tensors() const override {
    std::map<std::string, RawTensor, std::less<>> all;
    for (const auto& [name, tensor] : files_.tensors()) all.insert({name, {tensor.shape, tensor.dtype}});
    return all;
  }
  void read(std::string_view name, Part rows, Part columns, std::span<float> values) const override {
    read_floats(files_.tensors().find(name)->second, {rows.begin, rows.size(), columns.begin, columns.size()},
                values);
  }

  std::optional<RawRows> rows(std::string_view name) const override {
    const StoredTensor& tensor = files_.tensors().find(name)->second;
    const auto format = format_of(tensor.dtype);
    if (!format || tensor.shape.rank() == 0) return std::nullopt;
    return RawRows{*format, tensor.bytes.data(),
                   tensor.shape[-1] * static_cast<int64_t>(size_of(tensor.dtype))};
  }

 private:
  hf::WeightFiles files_;
};

void rename(TensorMap& map, const std::string& from, const std::string& to) {
  for (StoredTensorShape& tensor : map.tensors) {
    if (tensor.name == from) tensor.name = to;
  }
  for (auto& [parameter, place] : map.places) {
    if (place.tensor == from) place.tensor = to;
  }
}

/// Files of the model without its head have names without the model's own prefix.
void follow_prefix(TensorMap& map, const hf::WeightFiles& files, std::string_view base) {
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

void follow_head(TensorMap& map, const hf::WeightFiles& files) {
  const auto head = map.places.find("head.weight");
  if (head == map.places.end() || files.has(head->second.tensor)) return;
  for (const char* name : kHeads) {
    if (files.has(name)) return rename(map, std::string(head->second.tensor), name);
  }
}

/// A tied matrix may be there twice, if it is the same.
void hide_tied_head(const TensorMap& map, hf::WeightFiles& files, const std::string& path) {
  if (map.places.contains("head.weight")) return;
  const std::string& embedding = map.places.find("embedding.tokens.weight")->second.tensor;
  const auto table = files.tensors().find(embedding);
  for (const char* name : kHeads) {
    const auto head = files.tensors().find(name);
    if (head == files.tensors().end() || table == files.tensors().end()) continue;
    const auto &a = head->second.bytes, &b = table->second.bytes;
    const bool is_equal = a.size() == b.size() && head->second.dtype == table->second.dtype &&
                          (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
    if (!is_equal)
      throw_bad_input("{}: {} differs from {}, but the model has tied embeddings (tie_word_embeddings)", path,
                      name, embedding);
    files.hide(name);
  }
}

}  // namespace

std::unique_ptr<WeightSource> open_hf_weights(const std::string& path, const ModelConfig& config) {
  std::error_code error;
  const bool is_file = !fs::is_directory(path, error);
  const fs::path folder = is_file ? fs::path(path).parent_path() : fs::path(path);
  const std::string config_path = (folder / "config.json").string();
  const hf::Json json = read_ordered_json(config_path);
  const hf::HfArchitecture& architecture = hf::hf_architecture_in(json, config_path);
  hf::WeightFiles files = is_file ? hf::WeightFiles::of_file(path) : hf::WeightFiles(path);
  TensorMap map = hf_tensor_map(config, architecture.name);
  follow_prefix(map, files, architecture.base);
  follow_head(map, files);
  hide_tied_head(map, files, path);
  return mapped_weights(std::make_unique<RawSafetensors>(std::move(files)), std::move(map), config, path);
}

}  // namespace trireme
