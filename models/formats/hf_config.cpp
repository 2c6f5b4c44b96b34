#include "models/formats/hf_config.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "models/families/family.h"
#include "models/formats/hf/architecture.h"
#include "models/formats/model_differences.h"
#include "models/formats/quantized/quantization_config.h"
#include "runtime/base/error.h"
#include "runtime/io/files/file.h"
#include "runtime/io/json/strict_json.h"

namespace trireme {

namespace {

using hf::HfArchitecture;
using hf::HfKeys;
using hf::HfPart;
using hf::Json;

/// What no architecture has here.
void refuse_everywhere(const HfKeys& keys) {
  if (keys.find("quantization_config") != nullptr) read_quantization_config(keys);
  for (const char* key : {"is_encoder_decoder", "add_cross_attention"}) {
    if (keys.flag(key, false)) keys.refuse(key, "models that decode alone are supported");
  }
}

ModelConfig read_parts(const HfArchitecture& architecture, const Json& object,
                       std::vector<std::string>& errors) {
  ModelConfig config;
  apply_family(config, architecture.family);
  const HfKeys keys(object, errors);
  for (const HfPart& part : architecture.parts) {
    part.read(keys, config);
    if (config.num_layers <= hf::kMostLayers) continue;
    keys.refuse("num_hidden_layers", "at most {} work", hf::kMostLayers);
    return config;
  }
  return config;
}

Json written(const HfArchitecture& architecture, const ModelConfig& config) {
  Json out = Json::object();
  for (const HfPart& part : architecture.parts) part.write(config, out);
  return out;
}

/// Why the architecture does not compute this model; empty where it does.
std::vector<std::string> obstacles(const HfArchitecture& architecture, const ModelConfig& config) {
  std::vector<std::string> errors;
  const ModelConfig back = read_parts(architecture, written(architecture, config), errors);
  if (errors.empty()) errors = errors_of(back);
  if (errors.empty() && compute_the_same(config, back)) return {};
  const std::vector<std::string> differences = model_differences(config, back);
  if (!differences.empty()) return differences;
  return errors.empty() ? std::vector<std::string>{"the order of blocks"} : errors;
}

const HfArchitecture& architecture_of(const ModelConfig& config) {
  ModelConfig with_vocab = config;
  if (with_vocab.vocab_size < 1) with_vocab.vocab_size = 1;
  struct Near {
    const HfArchitecture* architecture;
    std::vector<std::string> obstacles;
  };
  std::vector<Near> nearest;
  // The family's own first.
  for (const bool of_family : {true, false}) {
    for (const HfArchitecture& entry : hf::hf_architectures()) {
      if ((entry.family == config.family) != of_family) continue;
      nearest.push_back({&entry, obstacles(entry, with_vocab)});
      if (nearest.back().obstacles.empty()) return entry;
    }
  }
  std::ranges::stable_sort(nearest, {}, [](const Near& near) { return near.obstacles.size(); });
  std::vector<std::string> texts;
  for (const Near& near : std::span(nearest).first(2))
    texts.push_back(fmt::format("{} has not {}", near.architecture->name, fmt::join(near.obstacles, ", ")));
  throw_usage("no architecture of transformers that is written here computes this model; nearest are: {}",
              fmt::join(texts, "; "));
}

/// With what does not change the result: for what is kept of an original.
bool are_alike(const ModelConfig& a, const ModelConfig& b) {
  return compute_the_same(a, b) && a.max_positions == b.max_positions && a.init_std == b.init_std &&
         a.moe.aux_loss == b.moe.aux_loss && a.moe.jitter == b.moe.jitter;
}

bool keeps(const HfPart& part, const Json& original, const ModelConfig& config) {
  std::vector<std::string> errors;
  ModelConfig back = config;
  part.read(HfKeys(original, errors), back);
  return errors.empty() && are_alike(config, back);
}

void overlay(const HfArchitecture& architecture, const ModelConfig& config, Json& out) {
  const Json original = out;
  const Json fresh = written(architecture, config);
  for (const HfPart& part : architecture.parts) {
    if (keeps(part, original, config)) continue;
    for (const std::string& key : part.keys) {
      if (fresh.contains(key)) {
        out[key] = fresh[key];
      } else {
        out.erase(key);
      }
    }
  }
}

Json sorted(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, unused] : object.items()) keys.push_back(key);
  std::ranges::sort(keys);
  Json out = Json::object();
  for (const std::string& key : keys) out[key] = object[key];
  return out;
}

const char* hf_name_of(DType dtype) {
  TRIREME_CHECK(is_compute_type(dtype), "weights of {}", to_string(dtype));
  return dtype == DType::bf16 ? "bfloat16" : dtype == DType::f16 ? "float16" : "float32";
}

}  // namespace

HfModel read_hf_config(const Json& config, const std::string& path) {
  if (!config.is_object()) throw_bad_input("{}: an object was expected, not {}", path, hf::shown(config));
  const HfArchitecture& architecture = hf::hf_architecture_in(config, path);
  std::vector<std::string> errors;
  refuse_everywhere(HfKeys(config, errors));
  HfModel model{read_parts(architecture, config, errors), std::string(architecture.name)};
  if (errors.empty()) errors = errors_of(model.config);
  if (!errors.empty())
    throw_bad_input("{}: {} cannot be represented: {}", path, architecture.name, fmt::join(errors, "; "));
  return model;
}

Json write_hf_config(const ModelConfig& config, const Json& original, DType dtype, int64_t vocab_size) {
  ModelConfig model = config;
  model.vocab_size = vocab_size;
  const HfArchitecture& nearest = architecture_of(model);
  Json out = original.is_object() ? original : Json::object();
  out.erase("quantization_config");  // the weights beside it are numbers
  const HfArchitecture* before = nullptr;
  if (original.is_object()) {
    const auto list = original.find("architectures");
    if (list != original.end() && list->is_array() && !list->empty() && list->front().is_string())
      before = hf::find_hf_architecture(list->front().get<std::string>());
  }
  // The architecture it came from stays where it still computes the model.
  const HfArchitecture& architecture = before && obstacles(*before, model).empty() ? *before : nearest;
  if (before != &architecture) {
    out["architectures"] = {std::string(architecture.name)};
    out["model_type"] = std::string(architecture.model_type);
  }
  if (original.is_object()) {
    overlay(architecture, model, out);
  } else {
    out.update(written(architecture, model));
  }
  out[out.contains("dtype") ? "dtype" : "torch_dtype"] = hf_name_of(dtype);
  return original.is_object() ? out : sorted(out);
}

std::string hf_architecture_of(const ModelConfig& config) {
  return std::string(architecture_of(config).name);
}

Json read_ordered_json(const std::string& path) {
  constexpr size_t kMostBytes = 8 << 20, kMostMembers = 4096;
  constexpr int kMostDeep = 32;
  const std::string text = read_text_file(path);
  if (text.size() > kMostBytes)
    throw_bad_input("{} has {} bytes; a configuration has at most {}", path, text.size(), kMostBytes);
  const nlohmann::json checked = parse_strict_json(text, kMostDeep, path);
  // An ordered object looks through all its members for each new one.
  std::vector<const nlohmann::json*> open = {&checked};
  while (!open.empty()) {
    const nlohmann::json* value = open.back();
    open.pop_back();
    if (value->is_object() && value->size() > kMostMembers)
      throw_bad_input("{} has an object of {} members; at most {} work", path, value->size(), kMostMembers);
    if (!value->is_structured()) continue;
    for (const nlohmann::json& inner : *value) open.push_back(&inner);
  }
  return Json::parse(text);
}

}  // namespace trireme
