// Qwen2 and Qwen2.5 (arXiv 2407.10671, 2412.15115): Llama with biases of query, key and value alone.
#include "models/families/table.h"

namespace trireme {

namespace {

void apply_qwen2(ModelConfig& config) {
  family_of(ModelFamily::llama).apply(config);
  config.bias = BiasKind::qkv;
  config.rotary_theta = 1e6;
  config.norm_eps = 1e-6;
}

std::vector<Preset> presets_of_qwen2() { return {}; }

}  // namespace

Family qwen2_family() {
  return {.family = ModelFamily::qwen2,
          .name = "qwen2",
          .description = "as llama, with biases of query, key and value",
          .apply = apply_qwen2,
          .ffn_size = gated_ffn_size,
          .presets = presets_of_qwen2};
}

}  // namespace trireme
