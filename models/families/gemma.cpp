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

std::vector<Preset> presets_of_gemma() { return {}; }

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
