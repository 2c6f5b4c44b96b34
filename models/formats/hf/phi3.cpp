// Phi3ForCausalLM: Phi-3 and Phi-4 of text, with fused projections and longrope.
#include "models/formats/hf/parts.h"

namespace trireme::hf {

HfArchitecture phi3_architecture() {
  return {.name = "Phi3ForCausalLM",
          .model_type = "phi3",
          .family = ModelFamily::phi3,
          .parts = together(
              {sizes({32064, 3072, 8192, 32, 32, 0, 4096}),
               {activation("hidden_act", true, "silu"), real("rms_norm_eps", &ModelConfig::norm_eps, 1e-5),
                rope({.partial_key = "partial_rotary_factor", .yarn_is_longrope = true}),
                windows({.absent = 0, .has_types = false}),
                dropout({"attention_dropout", "resid_pdrop", "embd_pdrop"}),
                flag("tie_word_embeddings", &ModelConfig::tied_embeddings, false)}}),
          .tensors = {{"embedding.tokens", "model.embed_tokens"},
                      {"layers.{}.attention_norm", "model.layers.{}.input_layernorm"},
                      {"layers.{}.attention.query", "model.layers.{}.self_attn.qkv_proj"},
                      {"layers.{}.attention.key", "model.layers.{}.self_attn.qkv_proj"},
                      {"layers.{}.attention.value", "model.layers.{}.self_attn.qkv_proj"},
                      {"layers.{}.attention.output", "model.layers.{}.self_attn.o_proj"},
                      {"layers.{}.ffn_norm", "model.layers.{}.post_attention_layernorm"},
                      {"layers.{}.ffn.gate", "model.layers.{}.mlp.gate_up_proj"},
                      {"layers.{}.ffn.up", "model.layers.{}.mlp.gate_up_proj"},
                      {"layers.{}.ffn.down", "model.layers.{}.mlp.down_proj"},
                      {"final_norm", "model.norm"},
                      {"head", "lm_head"}},
          .base = "model."};
}

}  // namespace trireme::hf
