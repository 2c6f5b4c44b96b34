// GPT2LMHeadModel: matrices [inputs, outputs], query, key and value in one.
#include "models/formats/hf/parts.h"

namespace trireme::hf {

namespace {

constexpr HfStorage kTransposed = HfStorage::transposed;

HfPart inner_size() {
  return {.keys = {"n_inner"},
          .read = [](const HfKeys& keys,
                     ModelConfig& c) { c.ffn_size = keys.whole("n_inner", 4 * c.hidden_size); },
          .write =
              [](const ModelConfig& c, Json& out) {
                out["n_inner"] = c.ffn_size == 4 * c.hidden_size ? Json() : Json(c.ffn_size);
              }};
}

/// Scores are divided by the root of the head size, or not at all.
HfPart score_scale() {
  return {.keys = {"scale_attn_weights"},
          .read =
              [](const HfKeys& keys, ModelConfig& c) {
                c.num_kv_heads = c.num_heads;
                c.query_scalar = keys.flag("scale_attn_weights", true) ? 0 : 1;
              },
          .write = [](const ModelConfig& c,
                      Json& out) { out["scale_attn_weights"] = c.query_scalar != 1 || c.head_dim() == 1; }};
}

}  // namespace

HfArchitecture gpt2_architecture() {
  return {
      .name = "GPT2LMHeadModel",
      .model_type = "gpt2",
      .family = ModelFamily::gpt2,
      .parts = {whole("vocab_size", &ModelConfig::vocab_size, 50257),
                whole("n_positions", &ModelConfig::max_positions, 1024),
                whole("n_embd", &ModelConfig::hidden_size, 768),
                whole("n_layer", &ModelConfig::num_layers, 12), whole("n_head", &ModelConfig::num_heads, 12),
                inner_size(), activation("activation_function", false, "gelu_new"),
                real("layer_norm_epsilon", &ModelConfig::norm_eps, 1e-5),
                real("initializer_range", &ModelConfig::init_std, 0.02), score_scale(),
                only("scale_attn_by_inverse_layer_idx", false,
                     "scores that are divided by the number of their block are not supported"),
                dropout({"resid_pdrop", "embd_pdrop", "attn_pdrop"}),
                flag("tie_word_embeddings", &ModelConfig::tied_embeddings, true)},
      .tensors = {{"embedding.tokens", "transformer.wte"},
                  {"embedding.positions", "transformer.wpe"},
                  {"layers.{}.attention_norm", "transformer.h.{}.ln_1"},
                  {"layers.{}.attention.query", "transformer.h.{}.attn.c_attn", kTransposed},
                  {"layers.{}.attention.key", "transformer.h.{}.attn.c_attn", kTransposed},
                  {"layers.{}.attention.value", "transformer.h.{}.attn.c_attn", kTransposed},
                  {"layers.{}.attention.output", "transformer.h.{}.attn.c_proj", kTransposed},
                  {"layers.{}.ffn_norm", "transformer.h.{}.ln_2"},
                  {"layers.{}.ffn.up", "transformer.h.{}.mlp.c_fc", kTransposed},
                  {"layers.{}.ffn.down", "transformer.h.{}.mlp.c_proj", kTransposed},
                  {"final_norm", "transformer.ln_f"},
                  {"head", "lm_head"}},
      .base = "transformer."};
}

}  // namespace trireme::hf
