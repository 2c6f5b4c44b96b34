// Published architectures at sizes at which a test reads every element.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/formats/hf_config.h"
#include "parallel/module/parameter.h"

namespace trireme::test {

/// config.json with two blocks (of the window's pattern as it is), four heads of 16 and no more of the rest.
inline nlohmann::ordered_json tiny_config(const char* text) {
  auto json = nlohmann::ordered_json::parse(text);
  const auto set = [&](const char* key, int64_t value) {
    if (json.contains(key) && !json[key].is_null()) json[key] = value;
  };
  for (const char* key : {"hidden_size", "n_embd"}) set(key, 64);
  for (const char* key : {"num_attention_heads", "n_head"}) set(key, 4);
  for (const char* key : {"num_hidden_layers", "n_layer"}) set(key, 2);
  if (json.contains("num_key_value_heads"))
    set("num_key_value_heads", json["num_key_value_heads"] == 1 ? 1 : json["model_type"] == "phi3" ? 4 : 2);
  set("head_dim", 16);
  set("intermediate_size", 96);
  set("moe_intermediate_size", 40);
  for (const char* key : {"num_local_experts", "num_experts"}) set(key, 4);
  set("num_experts_per_tok", 2);
  set("vocab_size", 101);
  for (const char* key : {"n_positions", "max_position_embeddings"})
    set(key, json.contains("rope_scaling") ? 131072 : 32);
  json.erase("layer_types");
  return json;
}

inline HfModel tiny_model(const char* text) { return read_hf_config(tiny_config(text), "config.json"); }

/// Values that differ from element to element and parameter to parameter, exact in bf16 up to 1 more.
inline std::vector<float> values_of(const Parameter& p) {
  uint32_t state = 2166136261u;
  for (const char c : p.name) state = (state ^ static_cast<unsigned char>(c)) * 16777619u;
  std::vector<float> values(static_cast<size_t>(p.global_shape.numel()));
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int>(state >> 25) - 64) / 64.0f;
  }
  return values;
}

}  // namespace trireme::test
