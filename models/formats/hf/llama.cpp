// LlamaForCausalLM: Llama 2 and 3, SmolLM and SmolLM2, and what else has this form.
#include "models/formats/hf/parts.h"

namespace trireme::hf {

std::vector<HfTensorName> together(std::initializer_list<std::vector<HfTensorName>> lists) {
  std::vector<HfTensorName> all;
  for (const auto& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

std::vector<HfTensorName> llama_names() {
  return {{"embedding.tokens", "model.embed_tokens"},
          {"layers.{}.attention_norm", "model.layers.{}.input_layernorm"},
          {"layers.{}.attention.query", "model.layers.{}.self_attn.q_proj"},
          {"layers.{}.attention.key", "model.layers.{}.self_attn.k_proj"},
          {"layers.{}.attention.value", "model.layers.{}.self_attn.v_proj"},
          {"layers.{}.attention.query_norm", "model.layers.{}.self_attn.q_norm"},
          {"layers.{}.attention.key_norm", "model.layers.{}.self_attn.k_norm"},
          {"layers.{}.attention.output", "model.layers.{}.self_attn.o_proj"},
          {"layers.{}.ffn_norm", "model.layers.{}.post_attention_layernorm"},
          {"final_norm", "model.norm"},
          {"head", "lm_head"}};
}

std::vector<HfTensorName> gated_names() {
  return {{"layers.{}.ffn.gate", "model.layers.{}.mlp.gate_proj"},
          {"layers.{}.ffn.up", "model.layers.{}.mlp.up_proj"},
          {"layers.{}.ffn.down", "model.layers.{}.mlp.down_proj"}};
}

HfArchitecture llama_architecture() {
  return {.name = "LlamaForCausalLM",
          .model_type = "llama",
          .family = ModelFamily::llama,
          .parts = together({sizes({32000, 4096, 11008, 32, 32, 0, 2048}),
                             {head_dim(0), activation("hidden_act", true, "silu"),
                              real("rms_norm_eps", &ModelConfig::norm_eps, 1e-6), rope({}),
                              biases(false, true), dropout({"attention_dropout"}),
                              flag("tie_word_embeddings", &ModelConfig::tied_embeddings, false)}}),
          .tensors = together({llama_names(), gated_names()}),
          .base = "model."};
}

}  // namespace trireme::hf
