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

std::vector<Preset> presets_of_smollm3() {
  return {
      {sized_model("smollm3-10m", ModelFamily::smollm3, {8, 320, 5, 1, 896, 256, 0}),
       "9M without embeddings, two of eight blocks without RoPE: minutes on two cores"},
      {sized_model("smollm3-3b", ModelFamily::smollm3, {36, 2048, 16, 4, 11008, 65536, 128256}),
       "SmolLM3 3B"},
  };
}

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
