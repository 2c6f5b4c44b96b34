// SmolLM3: Llama without positions in every fourth block (arXiv 2501.18795).
#include "models/families/table.h"

namespace trireme {

namespace {

void apply_smollm3(ModelConfig& config) {
  family_of(ModelFamily::llama).apply(config);
  config.tied_embeddings = true;
  config.no_rotary_every = 4;
  config.rotary_theta = 5e6;
  config.norm_eps = 1e-6;
}

std::vector<Preset> presets_of_smollm3() { return {}; }

}  // namespace

Family smollm3_family() {
  return {.family = ModelFamily::smollm3,
          .name = "smollm3",
          .description = "as llama, without RoPE in every 4th block, tied head",
          .apply = apply_smollm3,
          .ffn_size = gated_ffn_size,
          .presets = presets_of_smollm3};
}

}  // namespace trireme
