// GPTNeoXForCausalLM: GPT-NeoX and Pythia. Of each head the rows of query, key and value lie together.
#include "models/formats/hf/parts.h"

namespace trireme::hf {

namespace {

constexpr HfStorage kByHeads = HfStorage::by_heads;

Parts neox_sizes() {
  Parts parts = sizes({50432, 6144, 24576, 44, 64, 0, 2048});
  std::erase_if(parts, [](const HfPart& part) { return part.keys.front() == "num_key_value_heads"; });
  const HfPart kv_heads = {.keys = {"num_attention_heads"},
                           .read = [](const HfKeys&, ModelConfig& c) { c.num_kv_heads = c.num_heads; },
                           .write = [](const ModelConfig&, Json&) {}};
  parts.push_back(kv_heads);
  return parts;
}

}  // namespace

HfArchitecture neox_architecture() {
  return {.name = "GPTNeoXForCausalLM",
          .model_type = "gpt_neox",
          .family = ModelFamily::neox,
          .parts = together(
              {neox_sizes(),
               {activation("hidden_act", false, "gelu"), real("layer_norm_eps", &ModelConfig::norm_eps, 1e-5),
                flag("use_parallel_residual", &ModelConfig::parallel_residual, true),
                rope({.theta_key = "rotary_emb_base", .partial_key = "rotary_pct", .partial = 0.25}),
                only("attention_bias", true, "biases of the feed-forward part alone are not supported"),
                dropout({"attention_dropout", "hidden_dropout"}),
                flag("tie_word_embeddings", &ModelConfig::tied_embeddings, false)}}),
          .tensors = {{"embedding.tokens", "gpt_neox.embed_in"},
                      {"layers.{}.attention_norm", "gpt_neox.layers.{}.input_layernorm"},
                      {"layers.{}.attention.query", "gpt_neox.layers.{}.attention.query_key_value", kByHeads},
                      {"layers.{}.attention.key", "gpt_neox.layers.{}.attention.query_key_value", kByHeads},
                      {"layers.{}.attention.value", "gpt_neox.layers.{}.attention.query_key_value", kByHeads},
                      {"layers.{}.attention.output", "gpt_neox.layers.{}.attention.dense"},
                      {"layers.{}.ffn_norm", "gpt_neox.layers.{}.post_attention_layernorm"},
                      {"layers.{}.ffn.up", "gpt_neox.layers.{}.mlp.dense_h_to_4h"},
                      {"layers.{}.ffn.down", "gpt_neox.layers.{}.mlp.dense_4h_to_h"},
                      {"final_norm", "gpt_neox.final_layer_norm"},
                      {"head", "embed_out"}},
          .base = "gpt_neox."};
}

}  // namespace trireme::hf
