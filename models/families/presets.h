// Models by name: the published sizes, and small ones that a CPU trains in minutes.
#pragma once

#include <span>
#include <string_view>

#include "models/config/model_config.h"

namespace trireme {

struct Preset {
  ModelConfig config;            ///< its name is the preset's; vocab_size 0: the tokenizer's
  std::string_view description;  ///< where the numbers come from
};

/// All presets, small to large within a family.
std::span<const Preset> presets();
/// Null when there is none of this name.
const Preset* find_preset(std::string_view name);

}  // namespace trireme
