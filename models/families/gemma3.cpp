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

ModelConfig sized_gemma3(std::string_view name, const ModelSizes& sizes, int64_t head_dim, int64_t window) {
  ModelConfig config = sized_model(name, ModelFamily::gemma3, sizes);
  config.given_head_dim = head_dim;
  config.query_scalar = static_cast<double>(head_dim);
  config.window = window;
  return config;
}

ModelConfig gemma3_4b() {
  ModelConfig config = sized_gemma3("gemma3-4b", {34, 2560, 8, 4, 10240, 131072, 262208}, 256, 1024);
  config.rotary_scaling = RotaryScaling::linear;
  config.rotary_scaling_factor = 8;
  return config;
}

std::vector<Preset> presets_of_gemma3() {
  return {
      {sized_gemma3("gemma3-10m", {6, 320, 4, 2, 1280, 256, 0}, 96, 64),
       "10M without embeddings, window 64: minutes on two cores"},
      {sized_gemma3("gemma3-1b", {26, 1152, 4, 1, 6912, 32768, 262144}, 256, 512),
       "Gemma 3 1B (arXiv 2503.19786)"},
      {gemma3_4b(), "Gemma 3 4B, its text model"},
  };
}

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
