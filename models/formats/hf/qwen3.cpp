// Qwen3ForCausalLM and Qwen3MoeForCausalLM: RMSNorm of each head of queries and keys.
#include "models/formats/hf/parts.h"

namespace trireme::hf {

namespace {

HfPart qwen3_experts() {
  return {.keys = {"num_experts", "num_local_experts", "num_experts_per_tok", "moe_intermediate_size",
                   "norm_topk_prob", "router_aux_loss_coef"},
          .read =
              [](const HfKeys& keys, ModelConfig& c) {
                c.moe.num_experts = keys.whole("num_experts", keys.whole("num_local_experts", 128));
                c.moe.experts_per_token = keys.whole("num_experts_per_tok", 8);
                c.moe.expert_ffn_size = keys.whole("moe_intermediate_size", 768);
                c.moe.normalize_gates = keys.flag("norm_topk_prob", false);
                c.moe.aux_loss = keys.real("router_aux_loss_coef", 0.001);
              },
          .write =
              [](const ModelConfig& c, Json& out) {
                out["num_experts"] = c.moe.num_experts;
                out["num_experts_per_tok"] = c.moe.experts_per_token;
                out["moe_intermediate_size"] = c.expert_ffn_size();
                out["norm_topk_prob"] = c.moe.normalize_gates;
                out["router_aux_loss_coef"] = c.moe.aux_loss;
              }};
}

/// Later versions of transformers give the window to all blocks, earlier ones from max_window_layers on.
HfPart window_of_all() {
  HfPart part = windows({.has_types = false, .has_switch = true});
  part.keys.emplace_back("max_window_layers");
  const auto read = part.read;
  part.read = [=](const HfKeys& keys, ModelConfig& c) {
    read(keys, c);
    if (c.window > 0 && keys.whole("max_window_layers", 0, 0) > 0)
      keys.refuse("max_window_layers",
                  "with use_sliding_window, 0 works: versions of transformers differ in which "
                  "blocks have the window otherwise");
  };
  return part;
}

Parts qwen3_parts(const Sizes& absent, int64_t absent_head_dim) {
  return together(
      {sizes(absent),
       {head_dim(absent_head_dim), activation("hidden_act", true, "silu"),
        real("rms_norm_eps", &ModelConfig::norm_eps, 1e-6), rope({}), biases(false, false),
        dropout({"attention_dropout"}), flag("tie_word_embeddings", &ModelConfig::tied_embeddings, false)}});
}

}  // namespace

HfArchitecture qwen3_architecture() {
  return {.name = "Qwen3ForCausalLM",
          .model_type = "qwen3",
          .family = ModelFamily::qwen3,
          .parts = together({qwen3_parts({151936, 4096, 22016, 32, 32, 32, 32768}, 128),
                             {windows({.has_switch = true, .from = 28})}}),
          .tensors = together({llama_names(), gated_names()}),
          .base = "model."};
}

HfArchitecture qwen3_moe_architecture() {
  return {
      .name = "Qwen3MoeForCausalLM",
      .model_type = "qwen3_moe",
      .family = ModelFamily::qwen3,
      .parts = together({qwen3_parts({151936, 2048, 6144, 24, 32, 4, 32768}, 0),
                         {window_of_all(), qwen3_experts(), sparse_blocks()}}),
      .tensors = together({llama_names(),
                           gated_names(),
                           {{"layers.{}.ffn.router", "model.layers.{}.mlp.gate"},
                            {"layers.{}.ffn.experts.{}.gate", "model.layers.{}.mlp.experts.{}.gate_proj"},
                            {"layers.{}.ffn.experts.{}.up", "model.layers.{}.mlp.experts.{}.up_proj"},
                            {"layers.{}.ffn.experts.{}.down", "model.layers.{}.mlp.experts.{}.down_proj"}}}),
      .base = "model."};
}

}  // namespace trireme::hf
