// Olmo2ForCausalLM: norms behind the parts alone, and over queries and keys of all heads together.
#include "models/formats/hf/parts.h"

namespace trireme::hf {

HfArchitecture olmo2_architecture() {
  std::vector<HfTensorName> names = together({llama_names(), gated_names()});
  std::erase_if(names, [](const HfTensorName& name) {
    return name.parameter == "layers.{}.attention_norm" || name.parameter == "layers.{}.ffn_norm";
  });
  return {.name = "Olmo2ForCausalLM",
          .model_type = "olmo2",
          .family = ModelFamily::olmo2,
          .parts = together(
              {sizes({50304, 4096, 11008, 32, 32, 0, 2048}),
               {activation("hidden_act", true, "silu"), real("rms_norm_eps", &ModelConfig::norm_eps, 1e-5),
                rope({}), biases(false, false), dropout({"attention_dropout"}),
                flag("tie_word_embeddings", &ModelConfig::tied_embeddings, false)}}),
          .tensors = together({names,
                               {{"layers.{}.attention_post_norm", "model.layers.{}.post_attention_layernorm"},
                                {"layers.{}.ffn_post_norm", "model.layers.{}.post_feedforward_layernorm"}}}),
          .base = "model."};
}

}  // namespace trireme::hf
