#include "models/formats/gguf_model_file.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "models/formats/gguf_tensors.h"
#include "models/formats/mapped_weights.h"
#include "runtime/base/error.h"
#include "runtime/io/gguf/gguf_elements.h"
#include "runtime/io/gguf/gguf_writer.h"

namespace trireme {

namespace {

constexpr uint32_t kQuantizationVersion = 2;

void set_key(GgufMetadata& metadata, const std::string& key, const GgufValue& value) {
  const auto found = std::ranges::find(metadata, key, &GgufMetadata::value_type::first);
  if (found == metadata.end()) {
    metadata.emplace_back(key, value);
  } else {
    found->second = value;
  }
}

/// The prefix of the keys that `model` states anew.
std::string architecture_prefix(const GgufMetadata& original) {
  for (const auto& [key, value] : original) {
    const auto* name = std::get_if<std::string>(&value);
    if (key == "general.architecture" && name != nullptr) return *name + ".";
  }
  return "general.architecture";
}

/// Whether a key says how the file was made, which does not hold of another.
bool is_of_the_file(const std::string& key) {
  return key.starts_with("split.") || key.starts_with("quantize.") || key == "general.alignment";
}

}  // namespace

GgufType gguf_type_of(const StoredTensorShape& tensor, GgufType matrices) {
  const bool is_f32 = tensor.shape.rank() <= 1 || tensor.name.ends_with("_norm.weight") ||
                      tensor.name.ends_with(".ffn_gate_inp.weight") ||
                      tensor.name == "position_embd.weight" || !tensor.name.ends_with(".weight");
  if (is_f32) return GgufType::f32;
  if (tensor.shape[-1] % info_of(matrices).block_elements != 0) return GgufType::f16;
  return matrices;
}

uint32_t gguf_file_type(GgufType matrices) {
  switch (matrices) {
    case GgufType::f32:
      return 0;
    case GgufType::f16:
      return 1;
    case GgufType::q8_0:
      return 7;
    default:
      TRIREME_CHECK(matrices == GgufType::bf16, "a file of {}", info_of(matrices).name);
      return 32;
  }
}

GgufMetadata gguf_metadata(const GgufModel& model, GgufType matrices, const GgufMetadata& original,
                           const GgufMetadata& tokenizer) {
  std::set<std::string, std::less<>> now;
  for (const auto& [key, value] : model.metadata) now.insert(key);
  const std::string stated = architecture_prefix(original);
  GgufMetadata all;
  for (const auto& [key, value] : original) {
    if (is_of_the_file(key) || (key.starts_with(stated) && !now.contains(key))) continue;
    if (!tokenizer.empty() && key.starts_with("tokenizer.")) continue;
    all.emplace_back(key, value);
  }
  set_key(all, "general.architecture", model.architecture);
  if (original.empty()) set_key(all, "general.type", std::string("model"));
  for (const auto& [key, value] : model.metadata) set_key(all, key, value);
  set_key(all, "general.file_type", gguf_file_type(matrices));
  if (matrices == GgufType::q8_0) set_key(all, "general.quantization_version", kQuantizationVersion);
  for (const auto& [key, value] : tokenizer) set_key(all, key, value);
  return all;
}

void write_gguf_model(const std::string& file, const ModelConfig& config, const GgufModel& model,
                      const GgufMetadata& metadata, GgufType matrices, const ParameterValues& values) {
  const TensorMap map = gguf_tensor_map(config, model.architecture);
  std::vector<GgufSpec> specs;
  for (const auto& [name, factors] : model.tables)
    specs.push_back({name, GgufType::f32, {std::ssize(factors)}});
  for (const StoredTensorShape& tensor : map.tensors)
    specs.push_back({tensor.name, gguf_type_of(tensor, matrices), tensor.shape});
  GgufWriter writer(file, specs, metadata);
  for (const auto& [name, factors] : model.tables) writer.write_values(name, factors);
  for (const StoredTensorShape& tensor : map.tensors)
    writer.write_values(tensor.name, assemble(map, tensor, values));
  writer.commit();
}

ParameterValues rounded_as_gguf(const ModelConfig& config, const GgufModel& model, GgufType matrices,
                                ParameterValues values) {
  auto map = std::make_shared<const TensorMap>(gguf_tensor_map(config, model.architecture));
  std::map<std::string, GgufType, std::less<>> types;
  for (const StoredTensorShape& tensor : map->tensors) types[tensor.name] = gguf_type_of(tensor, matrices);
  return [=, values = std::move(values)](const std::string& name) {
    std::vector<float> rounded = values(name);
    const GgufTypeInfo& info = info_of(types.find(map->places.find(name)->second.tensor)->second);
    std::vector<std::byte> stored(rounded.size() / static_cast<size_t>(info.block_elements) *
                                  static_cast<size_t>(info.block_bytes));
    const auto type = static_cast<GgufType>(info.id);
    if (encode_gguf(type, rounded, stored)) decode_gguf(type, stored, rounded);
    return rounded;
  };
}

}  // namespace trireme
