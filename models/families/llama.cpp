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

ModelConfig smollm2(std::string_view name, const ModelSizes& sizes, double theta) {
  ModelConfig config = sized_model(name, ModelFamily::llama, sizes);
  config.rotary_theta = theta;
  config.tied_embeddings = true;
  return config;
}

std::vector<Preset> presets_of_llama() {
  constexpr int64_t kLong = 131072, kVocab = 128256;
  return {
      {sized_model("llama-tiny", ModelFamily::llama, {4, 128, 4, 2, 384, 256, 0}),
       "0.8M without embeddings: seconds on a laptop"},
      {sized_model("llama-10m", ModelFamily::llama, {6, 384, 6, 2, 1024, 256, 0}),
       "9M without embeddings: minutes on two cores"},
      {smollm2("smollm2-135m", {30, 576, 9, 3, 1536, 8192, 49152}, 1e5),
       "SmolLM2 135M (arXiv 2502.02737): tied head"},
      {smollm2("smollm2-360m", {32, 960, 15, 5, 2560, 8192, 49152}, 1e5), "SmolLM2 360M"},
      {llama3("llama3-1b", {16, 2048, 32, 8, 8192, kLong, kVocab}, 32, true), "Llama 3.2 1B: tied head"},
      {smollm2("smollm2-1.7b", {24, 2048, 32, 32, 8192, 8192, 49152}, 130000), "SmolLM2 1.7B"},
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
