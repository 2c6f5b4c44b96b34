// Mistral (arXiv 2310.06825): Llama under a sliding window.
#include "models/families/table.h"

namespace trireme {

namespace {

void apply_mistral(ModelConfig& config) {
  family_of(ModelFamily::llama).apply(config);
  config.window = 4096;
}

ModelConfig sized_mistral(std::string_view name, const ModelSizes& sizes, int64_t window) {
  ModelConfig config = sized_model(name, ModelFamily::mistral, sizes);
  config.window = window;
  return config;
}

ModelConfig mistral_nemo() {
  ModelConfig config = sized_mistral("mistral-nemo-12b", {40, 5120, 32, 8, 14336, 131072, 131072}, 0);
  config.given_head_dim = 128;
  config.rotary_theta = 1e6;
  return config;
}

std::vector<Preset> presets_of_mistral() {
  return {
      {sized_mistral("mistral-10m", {6, 384, 6, 2, 1024, 256, 0}, 64),
       "9M without embeddings, window 64: minutes on two cores"},
      {sized_mistral("mistral-7b", {32, 4096, 32, 8, 14336, 32768, 32000}, 4096),
       "Mistral 7B v0.1 (arXiv 2310.06825)"},
      {mistral_nemo(), "Mistral Nemo 12B: no window"},
  };
}

}  // namespace

Family mistral_family() {
  return {.family = ModelFamily::mistral,
          .name = "mistral",
          .description = "as llama, with model.window 4096",
          .apply = apply_mistral,
          .ffn_size = gated_ffn_size,
          .presets = presets_of_mistral};
}

}  // namespace trireme
