// MistralForCausalLM: Mistral 7B and what else has this form.
#include "models/formats/hf/parts.h"

namespace trireme::hf {

HfArchitecture mistral_architecture() {
  return {.name = "MistralForCausalLM",
          .model_type = "mistral",
          .family = ModelFamily::mistral,
          .parts = together({sizes({32000, 4096, 14336, 32, 32, 8, 4096 * 32}),
                             {head_dim(0), activation("hidden_act", true, "silu"),
                              real("rms_norm_eps", &ModelConfig::norm_eps, 1e-6), rope({}),
                              windows({.has_types = false}), dropout({"attention_dropout"}),
                              flag("tie_word_embeddings", &ModelConfig::tied_embeddings, false)}}),
          .tensors = together({llama_names(), gated_names()}),
          .base = "model."};
}

}  // namespace trireme::hf
