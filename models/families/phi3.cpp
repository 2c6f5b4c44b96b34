// Phi-3 and Phi-3.5 (arXiv 2404.14219): Llama, whose files have fused projections.
#include "models/families/table.h"

namespace trireme {

namespace {

void apply_phi3(ModelConfig& config) {
  family_of(ModelFamily::llama).apply(config);
  config.window = 2047;
}

ModelConfig sized_phi3(std::string_view name, const ModelSizes& sizes, int64_t window) {
  ModelConfig config = sized_model(name, ModelFamily::phi3, sizes);
  config.window = window;
  return config;
}

std::vector<Preset> presets_of_phi3() {
  return {
      {sized_phi3("phi3-10m", {6, 384, 6, 6, 1024, 256, 0}, 64),
       "11M without embeddings, window 64: minutes on two cores"},
      {sized_phi3("phi3-mini-4k", {32, 3072, 32, 32, 8192, 4096, 32064}, 2047),
       "Phi-3 mini, 3.8B, of 4k contexts (arXiv 2404.14219)"},
  };
}

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
