// Gemma (arXiv 2403.08295). Its gains are held whole; published files hold them less 1.
#include "models/families/table.h"

namespace trireme {

namespace {

void apply_gemma(ModelConfig& config) {
  config.norm = NormKind::rms_norm;
  config.norm_eps = 1e-6;
  config.activation = ActivationKind::geglu;
  config.positions = PositionKind::rotary;
  config.bias = BiasKind::none;
  config.tied_embeddings = true;
  config.scales_embedding = true;
  config.given_head_dim = 256;
}

ModelConfig sized_gemma(std::string_view name, const ModelSizes& sizes, int64_t head_dim) {
  ModelConfig config = sized_model(name, ModelFamily::gemma, sizes);
  config.given_head_dim = head_dim;
  return config;
}

std::vector<Preset> presets_of_gemma() {
  return {
      {sized_gemma("gemma-10m", {6, 320, 4, 1, 1280, 256, 0}, 96),
       "9M without embeddings: minutes on two cores"},
      {sized_gemma("gemma-2b", {18, 2048, 8, 1, 16384, 8192, 256000}, 256), "Gemma 2B (arXiv 2403.08295)"},
  };
}

}  // namespace

Family gemma_family() {
  return {.family = ModelFamily::gemma,
          .name = "gemma",
          .description = "RMSNorm, GeGLU, RoPE, model.head-dim 256, scaled tied embedding",
          .apply = apply_gemma,
          .ffn_size = plain_ffn_size,
          .presets = presets_of_gemma};
}

}  // namespace trireme
