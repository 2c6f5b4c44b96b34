#include "models/formats/gguf_model_file.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

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

GgufMetadata gguf_metadata(const GgufModel& model, GgufFileType type, const GgufMetadata& original,
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
  set_key(all, "general.file_type", static_cast<uint32_t>(type));
  if (has_blocks(type)) set_key(all, "general.quantization_version", kQuantizationVersion);
  for (const auto& [key, value] : tokenizer) set_key(all, key, value);
  return all;
}

GgufCodesReport write_gguf_model(const std::string& file, const ModelConfig& config, const GgufModel& model,
                                 const GgufMetadata& metadata, GgufFileType type,
                                 const GgufContent& content) {
  const GgufEncoder encoder(config, model.architecture, type, content);
  std::vector<GgufSpec> specs;
  for (const auto& [name, factors] : model.tables)
    specs.push_back({name, GgufType::f32, {std::ssize(factors)}});
  for (const StoredTensorShape& tensor : encoder.map().tensors)
    specs.push_back({tensor.name, encoder.type_of(tensor.name), tensor.shape});
  GgufWriter writer(file, specs, metadata);
  for (const auto& [name, factors] : model.tables) writer.write_values(name, factors);
  GgufCodesReport report;
  for (const StoredTensorShape& tensor : encoder.map().tensors)
    writer.write(tensor.name, encoder.stored(tensor, report));
  writer.commit();
  return report;
}

ParameterValues rounded_as_gguf(const ModelConfig& config, const GgufModel& model, GgufFileType type,
                                const GgufContent& content) {
  const auto encoder = std::make_shared<const GgufEncoder>(config, model.architecture, type, content);
  return [encoder](const std::string& name) { return encoder->decoded(name); };
}

}  // namespace trireme
