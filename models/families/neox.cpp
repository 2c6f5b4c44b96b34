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

// A quarter of each head turns.
ModelConfig sized_neox(std::string_view name, int64_t layers, int64_t hidden, int64_t heads,
                       int64_t positions, int64_t vocab) {
  ModelConfig config =
      sized_model(name, ModelFamily::neox, {layers, hidden, heads, heads, 4 * hidden, positions, vocab});
  config.rotary_dims = config.head_dim() / 4;
  return config;
}

std::vector<Preset> presets_of_neox() {
  return {
      {sized_neox("neox-10m", 6, 384, 6, 256, 0), "11M without embeddings: minutes on two cores"},
      {sized_neox("pythia-160m", 12, 768, 12, 2048, 50304), "Pythia 160M (arXiv 2304.01373)"},
      {sized_neox("pythia-1b", 16, 2048, 8, 2048, 50304), "Pythia 1B"},
      {sized_neox("pythia-6.9b", 32, 4096, 32, 2048, 50432), "Pythia 6.9B"},
      {sized_neox("neox-20b", 44, 6144, 64, 2048, 50432), "GPT-NeoX 20B (arXiv 2204.06745)"},
  };
}

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
