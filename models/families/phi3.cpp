// Phi-3 and Phi-3.5 (arXiv 2404.14219): Llama, whose files have fused projections.
#include "models/families/table.h"

namespace trireme {

namespace {

void apply_phi3(ModelConfig& config) {
  family_of(ModelFamily::llama).apply(config);
  config.window = 2047;
}

std::vector<Preset> presets_of_phi3() { return {}; }

}  // namespace

Family phi3_family() {
  return {.family = ModelFamily::phi3,
          .name = "phi3",
          .description = "as llama, with model.window 2047",
          .apply = apply_phi3,
          .ffn_size = gated_ffn_size,
          .presets = presets_of_phi3};
}

}  // namespace trireme
