#include "models/formats/gguf_architecture.h"

#include <algorithm>

namespace trireme {

namespace {

// As src/models/ of llama.cpp (github.com/ggml-org/llama.cpp) loads and computes them.
constexpr GgufArchitecture kArchitectures[] = {
    {.name = "gpt2",
     .family = ModelFamily::gpt2,
     .least_bias = BiasKind::all,
     .most_bias = BiasKind::all,
     .fused_qkv = true,
     .free_head_dim = false},
    {.name = "llama",
     .family = ModelFamily::llama,
     .most_bias = BiasKind::all,
     .frequency_factors = true,
     .experts = true},
    {.name = "qwen2", .family = ModelFamily::qwen2, .free_head_dim = false},
    {.name = "qwen3", .family = ModelFamily::qwen3},
    {.name = "qwen3moe",
     .family = ModelFamily::qwen3,
     .experts = true,
     .dense = false,
     .own_expert_width = true},
    {.name = "gemma", .family = ModelFamily::gemma, .head = GgufHead::tied},
    {.name = "gemma2",
     .family = ModelFamily::gemma2,
     .head = GgufHead::tied,
     .reads_window = true,
     .window_pattern = 2},
    {.name = "gemma3", .family = ModelFamily::gemma3, .reads_window = true, .window_pattern = 6},
    {.name = "phi3",
     .family = ModelFamily::phi3,
     .most_bias = BiasKind::none,
     .fused_qkv = true,
     .fused_gate = true,
     .free_head_dim = false,
     .partial_rotary = true,
     .frequency_factors = true},
    {.name = "olmo2",
     .family = ModelFamily::olmo2,
     .head = GgufHead::own,
     .free_head_dim = false,
     .reads_window = true,
     .window_pattern = 4},
    {.name = "smollm3", .family = ModelFamily::smollm3},
    {.name = "gptneox",
     .family = ModelFamily::neox,
     .head = GgufHead::own,
     .least_bias = BiasKind::all,
     .most_bias = BiasKind::all,
     .fused_qkv = true,
     .free_head_dim = false,
     .partial_rotary = true},
};

}  // namespace

std::span<const GgufArchitecture> gguf_architectures() { return kArchitectures; }

const GgufArchitecture* find_gguf_architecture(std::string_view name) {
  const auto* found = std::ranges::find(kArchitectures, name, &GgufArchitecture::name);
  return found == std::end(kArchitectures) ? nullptr : found;
}

}  // namespace trireme
