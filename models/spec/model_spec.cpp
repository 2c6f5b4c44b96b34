#include "models/spec/model_spec.h"

#include <cmath>

#include "models/config/model_config.h"

namespace trireme {

namespace {

RotarySpec rotary_of(const ModelConfig& c, int64_t index) {
  if (!c.turns(index)) return {};
  const int64_t dims = c.rotary_dims > 0 ? c.rotary_dims : c.head_dim();
  if (c.rotary_local_theta > 0 && c.window_of(index) > 0)
    return {.dims = dims, .theta = c.rotary_local_theta};
  if (c.rotary_scaling_factor == 1) return {.dims = dims, .theta = c.rotary_theta};
  return {.dims = dims,
          .theta = c.rotary_theta,
          .scaling = c.rotary_scaling,
          .scaling_factor = c.rotary_scaling_factor,
          .original_positions = c.rotary_original_positions,
          .low_freq_factor = c.rotary_low_freq_factor,
          .high_freq_factor = c.rotary_high_freq_factor,
          .beta_fast = c.rotary_beta_fast,
          .beta_slow = c.rotary_beta_slow,
          .truncate = c.rotary_truncate,
          .attention_factor = c.rotary_attention_factor,
          .short_factors = c.rotary_short_factors,
          .long_factors = c.rotary_long_factors};
}

bool has_all_biases(const ModelConfig& c) { return c.bias == BiasKind::all; }

AttentionSpec attention_of(const ModelConfig& c, int64_t index) {
  return {.num_heads = c.num_heads,
          .num_kv_heads = c.num_kv_heads,
          .head_dim = c.head_dim(),
          .qkv_bias = c.bias != BiasKind::none,
          .output_bias = c.bias >= BiasKind::attention,
          .qk_norm = c.qk_norm != QkNormKind::none
                         ? std::optional(NormSpec{NormKind::rms_norm, false, c.norm_eps})
                         : std::nullopt,
          .norms_whole_projection = c.qk_norm == QkNormKind::projection,
          .rotary = rotary_of(c, index),
          .scale = 1.0f / std::sqrt(static_cast<float>(
                              c.query_scalar > 0 ? c.query_scalar : static_cast<double>(c.head_dim()))),
          .soft_cap = c.attention_soft_cap,
          .window = c.window_of(index),
          .keys = c.patterns.empty() ? ops::KeyPattern()
                                     : c.patterns[static_cast<size_t>(index) % c.patterns.size()].keys};
}

MixtureSpec mixture_of(const ModelConfig& c) {
  MixtureSpec mixture{
      .routing = c.moe, .expert = {.activation = c.activation, .width = c.expert_ffn_size()}, .shared = {}};
  if (c.moe.shared_ffn_size > 0) {
    mixture.shared = FeedForwardSpec{
        .activation = c.activation, .width = c.moe.shared_ffn_size, .bias = has_all_biases(c)};
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
  const NormSpec norm{
      .kind = c.norm, .bias = has_all_biases(c) && c.norm == NormKind::layer_norm, .eps = c.norm_eps};
  ModelSpec spec{.vocab_size = c.vocab_size,
                 .hidden_size = c.hidden_size,
                 .embedding = {},
                 .blocks = {},
                 .head = {.norm = norm, .tied = c.tied_embeddings, .soft_cap = c.logit_soft_cap},
                 .init_std = c.init_std,
                 .residual_init_std = residual_init_std(c),
                 .quantization = c.quantization};
  if (c.positions == PositionKind::learned) spec.embedding.num_positions = c.max_positions;
  if (c.scales_embedding) spec.embedding.scale = std::sqrt(static_cast<double>(c.hidden_size));
  for (int64_t i = 0; i < c.num_layers; ++i) {
    BlockSpec& block = spec.blocks.emplace_back();
    block.norm = norm;
    block.norm_placement = c.norm_placement;
    block.parallel_residual = c.parallel_residual;
    if (c.convolution.is_in(i)) {
      block.convolution =
          ConvolutionSpec{.width = c.inner_size(), .kernel = c.convolution.kernel, .bias = has_all_biases(c)};
      block.attention.window = c.convolution.kernel;
    } else {
      block.attention = attention_of(c, i);
    }
    if (c.bottleneck.width > 0) {
      block.bottleneck =
          BottleneckSpec{.width = c.bottleneck.width, .num_feed_forwards = c.bottleneck.num_feed_forwards};
    }
    block.feed_forward = {.activation = c.activation, .width = c.ffn_size, .bias = has_all_biases(c)};
    if (c.moe.is_in(i)) block.mixture = mixture_of(c);
    if (const int64_t from = c.weights_of(i); from != i) block.weights_of = from;
  }
  return spec;
}

}  // namespace trireme
