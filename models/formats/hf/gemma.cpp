// GemmaForCausalLM, Gemma2ForCausalLM and Gemma3ForCausalLM. Gains are stored less 1.
#include "models/formats/hf/parts.h"

namespace trireme::hf {

namespace {

constexpr const char* kTanh = "gelu_pytorch_tanh";

HfPart causal() {
  return only("use_bidirectional_attention", false, "attention to later tokens is not supported");
}

/// Files of Gemma 1 name the activation under two keys, and "gelu" means its tanh form.
HfPart gemma_activation() {
  return {.keys = {"hidden_act", "hidden_activation"},
          .read =
              [](const HfKeys& keys, ModelConfig& c) {
                c.activation = ActivationKind::geglu;
                for (const char* key : {"hidden_act", "hidden_activation"}) {
                  const std::string name = keys.text(key, kTanh);
                  if (name != kTanh && name != "gelu" && name != "gelu_new")
                    keys.refuse(key, "Gemma works with {}", kTanh);
                }
              },
          .write = [](const ModelConfig&, Json& out) { out["hidden_act"] = kTanh; }};
}

Parts gemma_parts(const Sizes& absent) {
  return together({sizes(absent),
                   {head_dim(256), real("rms_norm_eps", &ModelConfig::norm_eps, 1e-6), biases(false, false),
                    dropout({"attention_dropout"}), causal(),
                    flag("tie_word_embeddings", &ModelConfig::tied_embeddings, true)}});
}

HfPart query_scalar() {
  return {.keys = {"query_pre_attn_scalar"},
          .read = [](const HfKeys& keys,
                     ModelConfig& c) { c.query_scalar = keys.real("query_pre_attn_scalar", 256); },
          .write =
              [](const ModelConfig& c, Json& out) {
                const double scalar = c.query_scalar > 0 ? c.query_scalar : static_cast<double>(c.head_dim());
                const auto whole = static_cast<int64_t>(scalar);
                out["query_pre_attn_scalar"] =
                    static_cast<double>(whole) == scalar ? Json(whole) : Json(scalar);
              }};
}

/// Norms before and behind each part.
std::vector<HfTensorName> sandwich_names() {
  std::vector<HfTensorName> names = together({llama_names(), gated_names()});
  std::erase_if(names, [](const HfTensorName& name) { return name.parameter == "layers.{}.ffn_norm"; });
  return together({names,
                   {{"layers.{}.attention_post_norm", "model.layers.{}.post_attention_layernorm"},
                    {"layers.{}.ffn_norm", "model.layers.{}.pre_feedforward_layernorm"},
                    {"layers.{}.ffn_post_norm", "model.layers.{}.post_feedforward_layernorm"}}});
}

}  // namespace

HfArchitecture gemma_architecture() {
  return {.name = "GemmaForCausalLM",
          .model_type = "gemma",
          .family = ModelFamily::gemma,
          .parts = together(
              {gemma_parts({256000, 3072, 24576, 28, 16, 16, 8192}), {gemma_activation(), rope({})}}),
          .tensors = together({llama_names(), gated_names()}),
          .base = "model.",
          .gain_added = 1};
}

HfArchitecture gemma2_architecture() {
  return {.name = "Gemma2ForCausalLM",
          .model_type = "gemma2",
          .family = ModelFamily::gemma2,
          .parts = together({gemma_parts({256000, 2304, 9216, 26, 8, 4, 8192}),
                             {activation("hidden_activation", true, kTanh), rope({}), query_scalar(),
                              real_or_null("attn_logit_softcapping", &ModelConfig::attention_soft_cap, 50),
                              real_or_null("final_logit_softcapping", &ModelConfig::logit_soft_cap, 30),
                              windows({.pattern = 2})}}),
          .tensors = sandwich_names(),
          .base = "model.",
          .gain_added = 1};
}

HfArchitecture gemma3_architecture() {
  return {.name = "Gemma3ForCausalLM",
          .model_type = "gemma3_text",
          .family = ModelFamily::gemma3,
          .parts = together(
              {gemma_parts({262208, 2304, 9216, 26, 8, 4, 131072}),
               {activation("hidden_activation", true, kTanh),
                rope({.theta = 1e6, .local_key = "rope_local_base_freq", .local_theta = 10000}),
                query_scalar(), real_or_null("attn_logit_softcapping", &ModelConfig::attention_soft_cap, 0),
                real_or_null("final_logit_softcapping", &ModelConfig::logit_soft_cap, 0),
                windows({.pattern = 6, .pattern_key = "sliding_window_pattern"})}}),
          .tensors = sandwich_names(),
          .base = "model.",
          .gain_added = 1};
}

}  // namespace trireme::hf
