// Families of models: what each fixes of a config, and its presets. A family is one file and its
// name in TRIREME_FAMILIES.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "models/families/presets.h"

namespace trireme {

struct Family {
  ModelFamily family = ModelFamily::gpt2;
  std::string_view name;         ///< "llama"
  std::string_view description;  ///< of its kinds, for --help
  /// Sets what the family fixes, in a config that is otherwise as ModelConfig has it.
  void (*apply)(ModelConfig&) = nullptr;
  /// The feed-forward width where none is given.
  int64_t (*ffn_size)(const ModelConfig&) = nullptr;
  std::vector<Preset> (*presets)() = nullptr;  ///< small to large
};

/// All of them.
std::span<const Family> families();
const Family& family_of(ModelFamily family);
std::string_view to_string(ModelFamily family);

/// Sets what the family fixes: kinds, biases, the head, and the constants of its positions; sizes stay.
void apply_family(ModelConfig& config, ModelFamily family);
/// The family's feed-forward width for this config.
int64_t default_ffn_size(const ModelConfig& config);

/// 4 * hidden, of a part without a gate; and 8/3 * hidden up to a multiple of 256, which with a gate are as
/// many weights.
int64_t plain_ffn_size(const ModelConfig& config);
int64_t gated_ffn_size(const ModelConfig& config);

struct ModelSizes {
  int64_t layers, hidden, heads, kv_heads, ffn, positions, vocab;
};
/// A model of the family; vocab 0: the tokenizer's.
ModelConfig sized_model(std::string_view name, ModelFamily family, const ModelSizes& sizes);

}  // namespace trireme
