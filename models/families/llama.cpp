// Llama (arXiv 2302.13971, 2407.21783).
#include "models/families/table.h"

namespace trireme {

namespace {

void apply_llama(ModelConfig& config) {
  config.norm = NormKind::rms_norm;
  config.activation = ActivationKind::swiglu;
  config.positions = PositionKind::rotary;
  config.bias = BiasKind::none;
  config.tied_embeddings = false;
}

ModelConfig llama3(std::string_view name, const ModelSizes& sizes, double scaling, bool tied = false) {
  ModelConfig config = sized_model(name, ModelFamily::llama, sizes);
  config.rotary_theta = 500000;
  config.rotary_scaling_factor = scaling;
  config.tied_embeddings = tied;
  return config;
}

std::vector<Preset> presets_of_llama() {
  constexpr int64_t kLong = 131072, kVocab = 128256;
  return {
      {sized_model("llama-tiny", ModelFamily::llama, {4, 128, 4, 2, 384, 256, 0}),
       "0.8M without embeddings: seconds on a laptop"},
      {sized_model("llama-10m", ModelFamily::llama, {6, 384, 6, 2, 1024, 256, 0}),
       "9M without embeddings: minutes on two cores"},
      {llama3("llama3-1b", {16, 2048, 32, 8, 8192, kLong, kVocab}, 32, true), "Llama 3.2 1B: tied head"},
      {llama3("llama3-8b", {32, 4096, 32, 8, 14336, kLong, kVocab}, 8),
       "Llama 3.1 8B (arXiv 2407.21783); 3.0 is --model.rotary-scaling 1 --model.max-positions 8192"},
      {llama3("llama3-70b", {80, 8192, 64, 8, 28672, kLong, kVocab}, 8), "Llama 3.1 70B"},
      {llama3("llama3-405b", {126, 16384, 128, 8, 53248, kLong, kVocab}, 8), "Llama 3.1 405B"},
  };
}

}  // namespace

Family llama_family() {
  return {.family = ModelFamily::llama,
          .name = "llama",
          .description = "RMSNorm, SwiGLU, RoPE, no biases, untied head",
          .apply = apply_llama,
          .ffn_size = gated_ffn_size,
          .presets = presets_of_llama};
}

}  // namespace trireme
