// MixtralForCausalLM: every block a mixture, gates from a softmax over the chosen experts.
#include "models/formats/hf/parts.h"

namespace trireme::hf {

namespace {

HfPart mixtral_experts() {
  return {.keys = {"num_local_experts", "num_experts_per_tok", "router_aux_loss_coef", "router_jitter_noise"},
          .read =
              [](const HfKeys& keys, ModelConfig& c) {
                c.moe.num_experts = keys.whole("num_local_experts", 8);
                c.moe.experts_per_token = keys.whole("num_experts_per_tok", 2);
                c.moe.aux_loss = keys.real("router_aux_loss_coef", 0.001);
                c.moe.jitter = keys.real("router_jitter_noise", 0);
              },
          .write =
              [](const ModelConfig& c, Json& out) {
                out["num_local_experts"] = c.moe.num_experts;
                out["num_experts_per_tok"] = c.moe.experts_per_token;
                out["router_aux_loss_coef"] = c.moe.aux_loss;
                out["router_jitter_noise"] = c.moe.jitter;
              }};
}

/// Experts have the model's width.
HfPart expert_width() {
  return {.keys = {"intermediate_size"},
          .read = [](const HfKeys&, ModelConfig& c) { c.moe.expert_ffn_size = 0; },
          .write = [](const ModelConfig& c, Json& out) { out["intermediate_size"] = c.expert_ffn_size(); }};
}

}  // namespace

HfArchitecture mixtral_architecture() {
  return {.name = "MixtralForCausalLM",
          .model_type = "mixtral",
          .family = ModelFamily::llama,
          .parts = together(
              {sizes({32000, 4096, 14336, 32, 32, 8, 4096 * 32}),
               {head_dim(0), expert_width(), activation("hidden_act", true, "silu"),
                real("rms_norm_eps", &ModelConfig::norm_eps, 1e-5), rope({.theta = 1e6}),
                windows({.absent = 0, .has_types = false}), mixtral_experts(), dropout({"attention_dropout"}),
                flag("tie_word_embeddings", &ModelConfig::tied_embeddings, false)}}),
          .tensors = together(
              {llama_names(),
               {{"layers.{}.ffn.router", "model.layers.{}.block_sparse_moe.gate"},
                {"layers.{}.ffn.experts.{}.gate", "model.layers.{}.block_sparse_moe.experts.{}.w1"},
                {"layers.{}.ffn.experts.{}.up", "model.layers.{}.block_sparse_moe.experts.{}.w3"},
                {"layers.{}.ffn.experts.{}.down", "model.layers.{}.block_sparse_moe.experts.{}.w2"}}}),
          .base = "model."};
}

}  // namespace trireme::hf
