// Small models of every architecture that GGUF files hold, and weights for them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "models/config/model_config.h"
#include "models/families/family.h"
#include "models/formats/mapped_weights.h"
#include "models/formats/parameter_values.h"
#include "runtime/base/philox.h"

namespace trireme::test {

/// Key-value heads unlike heads, where the architecture allows it a head size apart.
inline ModelConfig small_of(ModelFamily family) {
  ModelConfig c;
  apply_family(c, family);
  c.vocab_size = 96;
  c.num_layers = 7;
  c.hidden_size = 64;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.given_head_dim = c.given_head_dim > 0 ? 32 : 0;
  c.query_scalar = c.query_scalar > 0 ? 32 : 0;
  c.ffn_size = 96;
  c.max_positions = 128;
  c.window = c.window > 0 ? 16 : 0;
  return c;
}

template <class Change>
ModelConfig changed(ModelConfig config, const Change& change) {
  change(config);
  return config;
}

struct GgufCase {
  std::string architecture;
  ModelConfig config;
};

inline std::vector<GgufCase> gguf_cases() {
  using F = ModelFamily;
  const ModelConfig llama = small_of(F::llama), gemma2 = small_of(F::gemma2), gemma3 = small_of(F::gemma3);
  const auto scaled = [](RotaryScaling kind, double factor) {
    return [=](ModelConfig& c) {
      c.rotary_scaling = kind;
      c.rotary_scaling_factor = factor;
      c.rotary_original_positions = 32;
    };
  };
  const auto with_lists = [&](ModelConfig& c) {
    scaled(RotaryScaling::longrope, 4)(c);
    const int64_t count = (c.rotary_dims > 0 ? c.rotary_dims : c.head_dim()) / 2;
    for (int64_t i = 0; i < count; ++i) {
      c.rotary_short_factors.push_back(1 + 0.125 * static_cast<double>(i));
      c.rotary_long_factors.push_back(2 + 0.25 * static_cast<double>(i));
    }
  };
  const auto experts = [](ModelConfig& c) { c.moe = {.num_experts = 4, .expert_ffn_size = 32}; };
  return {
      {"gpt2", small_of(F::gpt2)},
      {"llama", llama},
      {"llama", changed(llama, [](ModelConfig& c) { c.tied_embeddings = true, c.given_head_dim = 24; })},
      {"llama", changed(llama, [](ModelConfig& c) { c.bias = BiasKind::all; })},
      {"llama", changed(llama, [](ModelConfig& c) { c.bias = BiasKind::attention; })},
      {"llama", changed(llama, [](ModelConfig& c) { c.bias = BiasKind::qkv; })},
      {"llama", changed(llama, scaled(RotaryScaling::llama3, 8))},
      {"llama", changed(llama,
                        [&](ModelConfig& c) {
                          scaled(RotaryScaling::llama3, 16)(c);
                          c.rotary_low_freq_factor = 1.5, c.rotary_high_freq_factor = 9;
                        })},
      {"llama", changed(llama, scaled(RotaryScaling::linear, 2.5))},
      {"llama", changed(llama, scaled(RotaryScaling::yarn, 4))},
      {"llama", changed(llama, with_lists)},
      {"llama", changed(llama, experts)},
      {"llama", small_of(F::mistral)},
      {"qwen2", small_of(F::qwen2)},
      {"qwen3", small_of(F::qwen3)},
      {"qwen3", changed(small_of(F::qwen3), [](ModelConfig& c) { c.window = 8, c.window_from = 4; })},
      {"qwen3", changed(small_of(F::qwen3),
                        [&](ModelConfig& c) {
                          scaled(RotaryScaling::yarn, 4)(c);
                          c.rotary_attention_factor = 1.25;
                        })},
      {"qwen3moe", changed(small_of(F::qwen3), experts)},
      {"gemma", small_of(F::gemma)},
      {"gemma2", gemma2},
      {"gemma2", changed(gemma2, [](ModelConfig& c) { c.window_pattern = 3; })},
      {"gemma3", gemma3},
      {"gemma3", changed(gemma3, [](ModelConfig& c) { c.logit_soft_cap = 20, c.tied_embeddings = false; })},
      {"gemma3", changed(gemma3, scaled(RotaryScaling::linear, 8))},
      {"phi3", small_of(F::phi3)},
      {"phi3", changed(small_of(F::phi3),
                       [&](ModelConfig& c) {
                         c.rotary_dims = 12;
                         with_lists(c);
                       })},
      {"olmo2", small_of(F::olmo2)},
      {"smollm3", small_of(F::smollm3)},
      {"gptneox", changed(small_of(F::neox), [](ModelConfig& c) { c.rotary_dims = 4; })},
      {"gptneox", changed(small_of(F::neox), [](ModelConfig& c) { c.parallel_residual = false; })},
  };
}

/// Weights that depend on the name and the place alone.
inline ParameterValues drawn_weights(const ModelConfig& config) {
  std::map<std::string, int64_t> sizes;
  for (const Parameter& p : parameters_of(config)) sizes[p.name] = p.global_shape.numel();
  return [sizes](const std::string& name) {
    std::vector<float> values(static_cast<size_t>(sizes.at(name)));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = uniform_from_bits(philox4x32(hash_name(name), i, 0)[0]) - 0.5f;
    return values;
  };
}

}  // namespace trireme::test
