// GPT-2 (Radford et al. 2019).
#include "models/families/table.h"

namespace trireme {

namespace {

void apply_gpt2(ModelConfig& config) {
  config.norm = NormKind::layer_norm;
  config.activation = ActivationKind::gelu;
  config.positions = PositionKind::learned;
  config.bias = BiasKind::all;
  config.tied_embeddings = true;
}

ModelConfig sized_gpt2(std::string_view name, int64_t layers, int64_t hidden, int64_t heads,
                       int64_t positions = 1024, int64_t vocab = 50257) {
  return sized_model(name, ModelFamily::gpt2, {layers, hidden, heads, heads, 4 * hidden, positions, vocab});
}

std::vector<Preset> presets_of_gpt2() {
  return {
      {sized_gpt2("gpt2-tiny", 4, 128, 4, 256, 0), "0.8M without embeddings: seconds on a laptop"},
      {sized_gpt2("gpt2-3m", 4, 256, 4, 256, 0), "3M without embeddings: minutes on two cores"},
      {sized_gpt2("gpt2-10m", 6, 384, 6, 256, 0), "11M without embeddings (nanoGPT's character model)"},
      {sized_gpt2("gpt2-124m", 12, 768, 12), "GPT-2 small (Radford et al. 2019)"},
      {sized_gpt2("gpt2-355m", 24, 1024, 16), "GPT-2 medium"},
      {sized_gpt2("gpt2-774m", 36, 1280, 20), "GPT-2 large"},
      {sized_gpt2("gpt2-1.5b", 48, 1600, 25), "GPT-2 XL"},
      {sized_gpt2("gpt3-175b", 96, 12288, 96, 2048), "GPT-3 (arXiv 2005.14165, table 2.1), all layers dense"},
  };
}

}  // namespace

Family gpt2_family() {
  return {.family = ModelFamily::gpt2,
          .name = "gpt2",
          .description = "LayerNorm, GELU, learned positions, biases, tied head",
          .apply = apply_gpt2,
          .ffn_size = plain_ffn_size,
          .presets = presets_of_gpt2};
}

}  // namespace trireme
