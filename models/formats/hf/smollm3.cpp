// SmolLM3ForCausalLM: every fourth block without RoPE.
#include "models/formats/hf/parts.h"

namespace trireme::hf {

HfArchitecture smollm3_architecture() {
  return {.name = "SmolLM3ForCausalLM",
          .model_type = "smollm3",
          .family = ModelFamily::smollm3,
          .parts = together(
              {sizes({128256, 2048, 11008, 36, 16, 4, 32768}),
               {head_dim(0), activation("hidden_act", true, "silu"),
                real("rms_norm_eps", &ModelConfig::norm_eps, 1e-6), rope({.theta = 2e6}), no_rope_layers(),
                windows({.absent = 0, .has_switch = true, .are_without_rotary = true}), biases(false, true),
                dropout({"attention_dropout"}),
                flag("tie_word_embeddings", &ModelConfig::tied_embeddings, true)}}),
          .tensors = together({llama_names(), gated_names()}),
          .base = "model."};
}

}  // namespace trireme::hf
