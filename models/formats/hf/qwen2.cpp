// Qwen2ForCausalLM: Qwen2 and Qwen2.5, with biases of query, key and value alone.
#include "models/formats/hf/parts.h"

namespace trireme::hf {

namespace {

HfPart qkv_biases() {
  return {.keys = {},
          .read = [](const HfKeys&, ModelConfig& c) { c.bias = BiasKind::qkv; },
          .write = [](const ModelConfig&, Json&) {}};
}

}  // namespace

HfArchitecture qwen2_architecture() {
  return {.name = "Qwen2ForCausalLM",
          .model_type = "qwen2",
          .family = ModelFamily::qwen2,
          .parts = together({sizes({151936, 4096, 22016, 32, 32, 32, 32768}),
                             {head_dim(0), activation("hidden_act", true, "silu"),
                              real("rms_norm_eps", &ModelConfig::norm_eps, 1e-6), rope({}), qkv_biases(),
                              windows({.has_switch = true, .from = 28}), dropout({"attention_dropout"}),
                              flag("tie_word_embeddings", &ModelConfig::tied_embeddings, false)}}),
          .tensors = together({llama_names(), gated_names()}),
          .base = "model."};
}

}  // namespace trireme::hf
