// The table of families, one entry per file.
#pragma once

#include "models/families/family.h"

namespace trireme {

Family gpt2_family();
Family llama_family();
Family qwen3_family();
Family gemma2_family();
Family mistral_family();

/// Mixtures of experts, of several families.
std::vector<Preset> mixture_presets();

}  // namespace trireme
