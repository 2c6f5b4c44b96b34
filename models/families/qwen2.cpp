// Qwen2 and Qwen2.5 (arXiv 2407.10671, 2412.15115): Llama with biases of query, key and value alone.
#include "models/families/table.h"

namespace trireme {

namespace {

void apply_qwen2(ModelConfig& config) {
  family_of(ModelFamily::llama).apply(config);
  config.bias = BiasKind::qkv;
  config.rotary_theta = 1e6;
  config.norm_eps = 1e-6;
}

ModelConfig sized_qwen2(std::string_view name, const ModelSizes& sizes, bool tied) {
  ModelConfig config = sized_model(name, ModelFamily::qwen2, sizes);
  config.tied_embeddings = tied;
  return config;
}

std::vector<Preset> presets_of_qwen2() {
  return {
      {sized_qwen2("qwen2-10m", {6, 384, 6, 2, 1024, 256, 0}, true),
       "9M without embeddings: minutes on two cores"},
      {sized_qwen2("qwen2.5-0.5b", {24, 896, 14, 2, 4864, 32768, 151936}, true),
       "Qwen2.5 0.5B (arXiv 2412.15115)"},
      {sized_qwen2("qwen2.5-7b", {28, 3584, 28, 4, 18944, 131072, 152064}, false), "Qwen2.5 7B"},
  };
}

}  // namespace

Family qwen2_family() {
  return {.family = ModelFamily::qwen2,
          .name = "qwen2",
          .description = "as llama, with biases of query, key and value",
          .apply = apply_qwen2,
          .ffn_size = gated_ffn_size,
          .presets = presets_of_qwen2};
}

}  // namespace trireme
