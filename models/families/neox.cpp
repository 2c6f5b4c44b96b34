// GPT-NeoX (arXiv 2204.06745) and Pythia (arXiv 2304.01373).
#include "models/families/table.h"

namespace trireme {

namespace {

void apply_neox(ModelConfig& config) {
  config.norm = NormKind::layer_norm;
  config.activation = ActivationKind::gelu_erf;
  config.positions = PositionKind::rotary;
  config.bias = BiasKind::all;
  config.tied_embeddings = false;
  config.parallel_residual = true;
}

std::vector<Preset> presets_of_neox() { return {}; }

}  // namespace

Family neox_family() {
  return {.family = ModelFamily::neox,
          .name = "neox",
          .description =
              "LayerNorm, exact GELU, RoPE on a part of each head (model.rotary-dims), attention and "
              "feed-forward side by side, biases, untied head",
          .apply = apply_neox,
          .ffn_size = plain_ffn_size,
          .presets = presets_of_neox};
}

}  // namespace trireme
