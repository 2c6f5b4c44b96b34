// Gemma 3 (arXiv 2503.19786), text alone: Gemma 2 with QK norm in the place of soft caps, and five windows to
// one full attention, with RoPE thetas of their own.
#include "models/families/table.h"

namespace trireme {

namespace {

void apply_gemma3(ModelConfig& config) {
  family_of(ModelFamily::gemma2).apply(config);
  config.attention_soft_cap = config.logit_soft_cap = 0;
  config.qk_norm = QkNormKind::head;
  config.window = 1024;
  config.window_pattern = 6;
  config.rotary_theta = 1e6;
  config.rotary_local_theta = 10000;
}

std::vector<Preset> presets_of_gemma3() { return {}; }

}  // namespace

Family gemma3_family() {
  return {.family = ModelFamily::gemma3,
          .name = "gemma3",
          .description =
              "as gemma2, with QK norm and no soft caps, and a window of 1024 with RoPE theta 10000 in five "
              "of six blocks",
          .apply = apply_gemma3,
          .ffn_size = plain_ffn_size,
          .presets = presets_of_gemma3};
}

}  // namespace trireme
