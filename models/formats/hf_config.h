// config.json of Hugging Face's transformers from and to ModelConfig.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "models/config/model_config.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

struct HfModel {
  ModelConfig config;
  std::string architecture;  ///< "LlamaForCausalLM"
};

/// The model that transformers makes of this config.json: absent keys have its defaults, keys that do not
/// change what is computed are passed over. Reads the spellings of versions 4 and 5 (rope_theta and
/// rope_scaling, or rope_parameters).
/// UserError (bad_input) naming `path`, key, value and the nearest that works for all that cannot be
/// represented, at once.
HfModel read_hf_config(const nlohmann::ordered_json& config, const std::string& path);

/// What transformers needs to load such a model. Keys of `original` (the config.json it came from, or null)
/// that do not contradict are kept, in its order. `dtype`: of the weights beside it. UserError (usage) where
/// no architecture of transformers computes this model, naming what keeps each of the nearest from it.
nlohmann::ordered_json write_hf_config(const ModelConfig& config, const nlohmann::ordered_json& original,
                                       DType dtype, int64_t vocab_size);

/// The class of transformers for such a model: that of its family where that one computes it, else the first
/// that does. UserError (usage) as write_hf_config().
std::string hf_architecture_of(const ModelConfig& config);

/// parse_strict_json() with the members in the order of the text.
nlohmann::ordered_json read_ordered_json(const std::string& path);

}  // namespace trireme
