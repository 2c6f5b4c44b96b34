#include "models/spec/model_spec.h"

#include <cmath>

#include "models/config/model_config.h"

namespace trireme {

namespace {

RotarySpec rotary_of(const ModelConfig& c) {
  if (c.positions != PositionKind::rotary) return {};
  return {.dims = c.head_dim(),
          .theta = c.rotary_theta,
          .scaling_factor = c.rotary_scaling_factor,
          .low_freq_factor = c.rotary_low_freq_factor,
          .high_freq_factor = c.rotary_high_freq_factor,
          .original_positions = c.rotary_original_positions};
}

AttentionSpec attention_of(const ModelConfig& c, int64_t index) {
  return {
      .num_heads = c.num_heads,
      .num_kv_heads = c.num_kv_heads,
      .head_dim = c.head_dim(),
      .qkv_bias = c.bias,
      .output_bias = c.bias,
      .qk_norm = c.qk_norm ? std::optional(NormSpec{NormKind::rms_norm, false, c.norm_eps}) : std::nullopt,
      .rotary = rotary_of(c),
      .scale = 1.0f / std::sqrt(static_cast<float>(c.query_scalar > 0 ? c.query_scalar
                                                                      : static_cast<double>(c.head_dim()))),
      .soft_cap = c.attention_soft_cap,
      .window = c.window_of(index)};
}

MixtureSpec mixture_of(const ModelConfig& c) {
  MixtureSpec mixture{
      .routing = c.moe, .expert = {.activation = c.activation, .width = c.expert_ffn_size()}, .shared = {}};
  if (c.moe.shared_ffn_size > 0) {
    mixture.shared =
        FeedForwardSpec{.activation = c.activation, .width = c.moe.shared_ffn_size, .bias = c.bias};
  }
  return mixture;
}

}  // namespace

bool BlockSpec::is_like(const BlockSpec& other) const {
  BlockSpec alike = *this;
  alike.weights_of = other.weights_of;
  return alike == other;
}

ModelSpec spec_of(const ModelConfig& c) {
  const NormSpec norm{.kind = c.norm, .bias = c.bias && c.norm == NormKind::layer_norm, .eps = c.norm_eps};
  ModelSpec spec{.vocab_size = c.vocab_size,
                 .hidden_size = c.hidden_size,
                 .embedding = {},
                 .blocks = {},
                 .head = {.norm = norm, .tied = c.tied_embeddings, .soft_cap = c.logit_soft_cap},
                 .init_std = c.init_std,
                 .residual_init_std = residual_init_std(c)};
  if (c.positions == PositionKind::learned) spec.embedding.num_positions = c.max_positions;
  if (c.scales_embedding) spec.embedding.scale = std::sqrt(static_cast<double>(c.hidden_size));
  for (int64_t i = 0; i < c.num_layers; ++i) {
    BlockSpec& block = spec.blocks.emplace_back();
    block.norm = norm;
    block.norm_placement = c.norm_placement;
    block.attention = attention_of(c, i);
    block.feed_forward = {.activation = c.activation, .width = c.ffn_size, .bias = c.bias};
    if (c.moe.is_in(i)) block.mixture = mixture_of(c);
    if (c.share > 0 && i >= c.share) block.weights_of = i % c.share;
  }
  return spec;
}

}  // namespace trireme
