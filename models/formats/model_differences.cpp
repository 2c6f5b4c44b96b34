#include "models/formats/model_differences.h"

#include <fmt/ranges.h>

#include "models/config/weight_sharing.h"
#include "models/spec/model_spec.h"

namespace trireme {

namespace {

// As options spell them.
std::string text_of(int64_t value) { return fmt::to_string(value); }
std::string text_of(double value) { return fmt::to_string(value); }
std::string text_of(bool value) { return value ? "on" : "off"; }
std::string text_of(const std::vector<double>& values) {
  return values.empty() ? "none" : fmt::format("{} numbers from {}", values.size(), values.front());
}
std::string text_of(NormKind kind) { return kind == NormKind::rms_norm ? "rmsnorm" : "layernorm"; }
std::string text_of(PositionKind kind) { return kind == PositionKind::rotary ? "rotary" : "learned"; }
std::string text_of(ActivationKind kind) {
  constexpr const char* kNames[] = {"gelu", "swiglu", "geglu", "gelu-erf"};
  return kNames[static_cast<int>(kind)];
}
std::string text_of(NormPlacement placement) {
  constexpr const char* kNames[] = {"pre", "both", "post"};
  return kNames[static_cast<int>(placement)];
}
std::string text_of(BiasKind kind) {
  constexpr const char* kNames[] = {"off", "qkv", "attention", "on"};
  return kNames[static_cast<int>(kind)];
}
std::string text_of(QkNormKind kind) {
  constexpr const char* kNames[] = {"off", "head", "projection"};
  return kNames[static_cast<int>(kind)];
}
std::string text_of(RotaryScaling kind) {
  constexpr const char* kNames[] = {"llama3", "linear", "yarn", "longrope"};
  return kNames[static_cast<int>(kind)];
}
std::string text_of(RouterScore score) { return score == RouterScore::softmax ? "softmax" : "sigmoid"; }
std::string text_of(CapacityMode mode) {
  constexpr const char* kNames[] = {"dropless", "drop", "pad"};
  return kNames[static_cast<int>(mode)];
}

std::string text_of(const std::vector<AttentionPattern>& patterns) {
  return patterns.empty() ? "none" : to_text(patterns);
}

template <class Get>
ModelField field(std::string_view option, Get get) {
  return {option, [=](const ModelConfig& c) { return text_of(get(c)); },
          [=](const ModelConfig& from, ModelConfig& to) { get(to) = get(from); }};
}

#define TRIREME_FIELD(option, member) \
  field(                              \
      option, [](auto& c) -> auto& { return c.member; })

/// What is computed, in one form: what has no effect has its usual value.
ModelSpec computed(const ModelConfig& config) {
  const MoeConfig usual;
  ModelSpec spec = spec_of(config);
  for (BlockSpec& block : spec.blocks) {
    if (block.mixture) {
      MoeConfig& routing = block.mixture->routing;
      routing.first_block = usual.first_block, routing.every = usual.every;  // the block is one
      routing.expert_ffn_size = usual.expert_ffn_size;                       // stated beside
      routing.aux_loss = usual.aux_loss, routing.aux_scope = usual.aux_scope;
      routing.z_loss = usual.z_loss, routing.jitter = usual.jitter;
      if (routing.capacity == CapacityMode::dropless) routing.capacity_factor = usual.capacity_factor;
      if (routing.num_groups == routing.groups_per_token) routing.num_groups = routing.groups_per_token = 1;
      block.feed_forward = {};
    }
    RotarySpec& rotary = block.attention.rotary;
    const RotarySpec none;
    if (rotary.scaling != RotaryScaling::llama3)
      rotary.low_freq_factor = none.low_freq_factor, rotary.high_freq_factor = none.high_freq_factor;
    if (rotary.scaling == RotaryScaling::linear) rotary.original_positions = none.original_positions;
    if (rotary.scaling != RotaryScaling::yarn) {
      rotary.beta_fast = none.beta_fast, rotary.beta_slow = none.beta_slow;
      rotary.truncate = none.truncate;
    }
    if (rotary.scaling != RotaryScaling::longrope) rotary.short_factors = rotary.long_factors = {};
  }
  spec.init_std = spec.residual_init_std = 0;
  return spec;
}

}  // namespace

std::span<const ModelField> model_fields() {
  static const std::vector<ModelField> all = {
      TRIREME_FIELD("model.layers", num_layers),
      {"model.share", sharing_text,
       [](const ModelConfig& from, ModelConfig& to) {
         to.share = from.share;
         to.weights_from = from.weights_from;
       }},
      TRIREME_FIELD("model.hidden", hidden_size),
      TRIREME_FIELD("model.heads", num_heads),
      TRIREME_FIELD("model.kv-heads", num_kv_heads),
      TRIREME_FIELD("model.head-dim", given_head_dim),
      TRIREME_FIELD("model.ffn", ffn_size),
      TRIREME_FIELD("model.vocab", vocab_size),
      TRIREME_FIELD("model.max-positions", max_positions),
      TRIREME_FIELD("model.norm", norm),
      TRIREME_FIELD("model.activation", activation),
      TRIREME_FIELD("model.positions", positions),
      TRIREME_FIELD("model.bias", bias),
      TRIREME_FIELD("model.tied", tied_embeddings),
      TRIREME_FIELD("model.norm-placement", norm_placement),
      TRIREME_FIELD("model.parallel-residual", parallel_residual),
      TRIREME_FIELD("model.qk-norm", qk_norm),
      TRIREME_FIELD("model.scales-embedding", scales_embedding),
      TRIREME_FIELD("model.query-scalar", query_scalar),
      TRIREME_FIELD("model.attention-soft-cap", attention_soft_cap),
      TRIREME_FIELD("model.logit-soft-cap", logit_soft_cap),
      TRIREME_FIELD("model.window", window),
      TRIREME_FIELD("model.window-pattern", window_pattern),
      TRIREME_FIELD("model.window-from", window_from),
      TRIREME_FIELD("model.convolution", convolution.kernel),
      TRIREME_FIELD("model.convolution-every", convolution.every),
      TRIREME_FIELD("model.convolution-from", convolution.first_block),
      TRIREME_FIELD("model.bottleneck", bottleneck.width),
      TRIREME_FIELD("model.bottleneck-ffns", bottleneck.num_feed_forwards),
      TRIREME_FIELD("model.patterns", patterns),
      TRIREME_FIELD("model.norm-eps", norm_eps),
      TRIREME_FIELD("model.rotary-theta", rotary_theta),
      TRIREME_FIELD("model.rotary-dims", rotary_dims),
      TRIREME_FIELD("model.rotary-local-theta", rotary_local_theta),
      TRIREME_FIELD("model.no-rotary-every", no_rotary_every),
      TRIREME_FIELD("model.rotary-scaling", rotary_scaling_factor),
      TRIREME_FIELD("model.rotary-scaling-type", rotary_scaling),
      TRIREME_FIELD("model.rotary-original-positions", rotary_original_positions),
      TRIREME_FIELD("model.rotary-low-freq-factor", rotary_low_freq_factor),
      TRIREME_FIELD("model.rotary-high-freq-factor", rotary_high_freq_factor),
      TRIREME_FIELD("model.rotary-beta-fast", rotary_beta_fast),
      TRIREME_FIELD("model.rotary-beta-slow", rotary_beta_slow),
      TRIREME_FIELD("model.rotary-truncate", rotary_truncate),
      TRIREME_FIELD("model.rotary-attention-factor", rotary_attention_factor),
      TRIREME_FIELD("model.rotary-short-factors", rotary_short_factors),
      TRIREME_FIELD("model.rotary-long-factors", rotary_long_factors),
      TRIREME_FIELD("moe.experts", moe.num_experts),
      TRIREME_FIELD("moe.top-k", moe.experts_per_token),
      TRIREME_FIELD("moe.ffn", moe.expert_ffn_size),
      TRIREME_FIELD("moe.shared-ffn", moe.shared_ffn_size),
      TRIREME_FIELD("moe.from", moe.first_block),
      TRIREME_FIELD("moe.every", moe.every),
      TRIREME_FIELD("moe.score", moe.score),
      TRIREME_FIELD("moe.groups", moe.num_groups),
      TRIREME_FIELD("moe.top-groups", moe.groups_per_token),
      TRIREME_FIELD("moe.normalize", moe.normalize_gates),
      TRIREME_FIELD("moe.gate-scale", moe.gate_scale),
      TRIREME_FIELD("moe.capacity", moe.capacity),
      TRIREME_FIELD("moe.capacity-factor", moe.capacity_factor),
      TRIREME_FIELD("moe.bias-rate", moe.bias_rate),
  };
  return all;
}

#undef TRIREME_FIELD

bool compute_the_same(const ModelConfig& a, const ModelConfig& b) { return computed(a) == computed(b); }

std::vector<std::string> model_differences(const ModelConfig& a, const ModelConfig& b) {
  if (compute_the_same(a, b)) return {};  // two fields may say together what two others say
  std::vector<std::string> out;
  for (const ModelField& entry : model_fields()) {
    if (entry.text(a) == entry.text(b)) continue;
    ModelConfig changed = a;
    entry.copy(b, changed);
    if (!compute_the_same(a, changed))
      out.push_back(fmt::format("{} {} (there {})", entry.option, entry.text(a), entry.text(b)));
  }
  if (out.empty()) {
    for (const ModelField& entry : model_fields()) {
      if (entry.text(a) != entry.text(b))
        out.push_back(fmt::format("{} {} (there {})", entry.option, entry.text(a), entry.text(b)));
    }
  }
  return out;
}

}  // namespace trireme
