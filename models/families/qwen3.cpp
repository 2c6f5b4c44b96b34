// Qwen3 (arXiv 2505.09388): Llama with heads of their own size and norms of queries and keys.
#include "models/families/table.h"

namespace trireme {

namespace {

void apply_qwen3(ModelConfig& config) {
  family_of(ModelFamily::llama).apply(config);
  config.given_head_dim = 128;
  config.qk_norm = QkNormKind::head;
  config.rotary_theta = 1e6;
  config.norm_eps = 1e-6;
}

ModelConfig sized_qwen3(std::string_view name, const ModelSizes& sizes, int64_t head_dim, bool tied = true) {
  ModelConfig config = sized_model(name, ModelFamily::qwen3, sizes);
  config.given_head_dim = head_dim;
  config.tied_embeddings = tied;
  return config;
}

std::vector<Preset> presets_of_qwen3() {
  constexpr int64_t kVocab = 151936, kLong = 40960;
  return {
      {sized_qwen3("qwen3-10m", {6, 320, 8, 2, 1280, 256, 0}, 64, false),
       "10M without embeddings: minutes on two cores"},
      {sized_qwen3("qwen3-0.6b", {28, 1024, 16, 8, 3072, kLong, kVocab}, 128),
       "Qwen3 0.6B (arXiv 2505.09388)"},
      {sized_qwen3("qwen3-1.7b", {28, 2048, 16, 8, 6144, kLong, kVocab}, 128), "Qwen3 1.7B"},
      {sized_qwen3("qwen3-4b", {36, 2560, 32, 8, 9728, kLong, kVocab}, 128), "Qwen3 4B"},
      {sized_qwen3("qwen3-8b", {36, 4096, 32, 8, 12288, kLong, kVocab}, 128, false), "Qwen3 8B"},
      {sized_qwen3("qwen3-14b", {40, 5120, 40, 8, 17408, kLong, kVocab}, 128, false), "Qwen3 14B"},
      {sized_qwen3("qwen3-32b", {64, 5120, 64, 8, 25600, kLong, kVocab}, 128, false), "Qwen3 32B"},
  };
}

}  // namespace

Family qwen3_family() {
  return {.family = ModelFamily::qwen3,
          .name = "qwen3",
          .description = "as llama, with QK norm and model.head-dim 128",
          .apply = apply_qwen3,
          .ffn_size = gated_ffn_size,
          .presets = presets_of_qwen3};
}

}  // namespace trireme
