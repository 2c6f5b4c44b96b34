#include "models/spec/describe_parameters.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace trireme {

std::string block_name(int64_t index) { return fmt::format("layers.{}", index); }

std::string router_name(int64_t index) { return block_name(index) + ".ffn.router"; }

Part heads_of_rank(const AttentionSpec& attention, const GroupShare& tensor) {
  return tensor.part(attention.num_heads);
}

int copies_of_kv_heads(const AttentionSpec& attention, const GroupShare& tensor) {
  return static_cast<int>(std::max<int64_t>(1, tensor.size / attention.num_kv_heads));
}

Part kv_heads_of_rank(const AttentionSpec& attention, const GroupShare& tensor) {
  const int copies = copies_of_kv_heads(attention, tensor);
  return GroupShare{tensor.rank / copies, tensor.size / copies}.part(attention.num_kv_heads);
}

Parameter ParameterDescription::sharded(std::string name, const Shape& shape, int dim, double std) const {
  return Parameter::part_of(std::move(name), shape, dim, share_.tensor.part(shape[dim]), 0.0f,
                            static_cast<float>(std));
}

Parameter ParameterDescription::copied(std::string name, const Shape& shape, float mean, double std) const {
  Parameter p = Parameter::whole(std::move(name), shape, mean, static_cast<float>(std));
  p.num_copies = share_.tensor.size;
  return p;
}

EmbeddingParameters ParameterDescription::embedding() const {
  EmbeddingParameters out;
  out.tokens =
      single(sharded("embedding.tokens.weight", {spec_.vocab_size, spec_.hidden_size}, 0, spec_.init_std));
  const int64_t positions = spec_.embedding.num_positions;
  if (positions > 0) {
    out.positions =
        single(copied("embedding.positions.weight", {positions, spec_.hidden_size}, 0.0f, spec_.init_std));
  }
  return out;
}

NormParameters ParameterDescription::norm(const NormSpec& norm, const std::string& name) const {
  const auto vector = [&](const char* part, float mean) {
    Parameter p = copied(name + part, {width_}, mean, 0.0);
    p.is_gradient_partial = share_.sequence;
    return single(std::move(p));
  };
  NormParameters out{.gain = vector(".gain", 1.0f), .bias = {}};
  if (norm.kind == NormKind::layer_norm && norm.bias) out.bias = vector(".bias", 0.0f);
  return out;
}

ParameterBlock ParameterDescription::scales(const ParameterBlock& matrices) const {
  const QuantizationConfig& quantization = spec_.quantization;
  if (!quantization.learns_scales_of(matrices.members.front().name)) return {};
  return scales_of(matrices, quantization.spec().group);
}

// Of the heads [heads.begin, heads.end) of all `num_heads`, which `num_copies` ranks hold.
Parameter ParameterDescription::of_heads(const AttentionSpec& attention, std::string name, int64_t num_heads,
                                         const Part& heads, int num_copies, bool matrix) const {
  const int64_t rows = num_heads * attention.head_dim;
  Parameter p = Parameter::part_of(std::move(name), matrix ? Shape{rows, width_} : Shape{rows}, 0,
                                   {heads.begin * attention.head_dim, heads.end * attention.head_dim}, 0.0f,
                                   matrix ? static_cast<float>(spec_.init_std) : 0.0f);
  p.num_copies = num_copies;
  p.is_gradient_partial = num_copies > 1;
  return p;
}

ParameterBlock ParameterDescription::qkv(const AttentionSpec& attention, const std::string& name,
                                         bool matrix) const {
  ParameterBlock block;
  const auto add = [&](const char* part, int64_t num_heads, const Part& heads, int num_copies) {
    block.members.push_back(of_heads(attention, name + part + (matrix ? ".weight" : ".bias"), num_heads,
                                     heads, num_copies, matrix));
  };
  const Part kv_heads = kv_heads_of_rank(attention, share_.tensor);
  const int kv_copies = copies_of_kv_heads(attention, share_.tensor);
  add(".query", attention.num_heads, heads_of_rank(attention, share_.tensor), 1);
  add(".key", attention.num_kv_heads, kv_heads, kv_copies);
  add(".value", attention.num_kv_heads, kv_heads, kv_copies);
  return block;
}

AttentionParameters ParameterDescription::attention(const AttentionSpec& attention,
                                                    const std::string& name) const {
  AttentionParameters out;
  out.qkv.weight = qkv(attention, name, true);
  if (attention.qkv_bias) out.qkv.bias = qkv(attention, name, false);
  if (attention.qk_norm) add_qk_norm(attention, name, out);
  out.output.weight =
      single(sharded(name + ".output.weight", {width_, attention.query_width()}, 1, spec_.residual_init_std));
  out.qkv.scales = scales(out.qkv.weight);
  out.output.scales = scales(out.output.weight);
  if (attention.output_bias) out.output.bias = single(copied(name + ".output.bias", {width_}, 0.0f, 0.0));
  return out;
}

void ParameterDescription::add_qk_norm(const AttentionSpec& attention, const std::string& name,
                                       AttentionParameters& out) const {
  const auto gain = [&](const char* part, int64_t num_heads, const Part& heads, int num_copies) {
    Parameter p;
    if (attention.norms_whole_projection) {
      p = of_heads(attention, name + part, num_heads, heads, num_copies, false);
      p.init_mean = 1.0f;
    } else {
      p = copied(name + part, {attention.head_dim}, 1.0f, 0.0);
      p.is_gradient_partial = true;
    }
    return single(std::move(p));
  };
  out.query_norm.gain =
      gain(".query_norm.gain", attention.num_heads, heads_of_rank(attention, share_.tensor), 1);
  out.key_norm.gain =
      gain(".key_norm.gain", attention.num_kv_heads, kv_heads_of_rank(attention, share_.tensor),
           copies_of_kv_heads(attention, share_.tensor));
}

ConvolutionParameters ParameterDescription::convolution(const ConvolutionSpec& convolution,
                                                        const std::string& name) const {
  ConvolutionParameters out;
  for (const char* part : {".in_gate", ".out_gate", ".in_value"}) {
    out.in.weight.members.push_back(
        sharded(name + part + ".weight", {convolution.width, width_}, 0, spec_.init_std));
    if (convolution.bias)
      out.in.bias.members.push_back(sharded(name + part + ".bias", {convolution.width}, 0, 0.0));
  }
  // Of three dims, as vectors are: in f32, neither decayed nor quantized.
  out.taps = single(sharded(name + ".taps", {convolution.width, convolution.kernel, 1}, 0,
                            1 / std::sqrt(static_cast<double>(convolution.kernel))));
  out.output.weight =
      single(sharded(name + ".output.weight", {width_, convolution.width}, 1, spec_.residual_init_std));
  out.in.scales = scales(out.in.weight);
  out.output.scales = scales(out.output.weight);
  if (convolution.bias) out.output.bias = single(copied(name + ".output.bias", {width_}, 0.0f, 0.0));
  return out;
}

ParameterBlock ParameterDescription::up(const FeedForwardSpec& part, const std::string& name,
                                        bool matrix) const {
  ParameterBlock block;
  const Shape shape = matrix ? Shape{part.width, width_} : Shape{part.width};
  const auto add = [&](const char* which) {
    block.members.push_back(
        sharded(name + which + (matrix ? ".weight" : ".bias"), shape, 0, matrix ? spec_.init_std : 0.0));
  };
  if (is_gated(part.activation)) add(".gate");
  add(".up");
  return block;
}

FeedForwardParameters ParameterDescription::feed_forward(const FeedForwardSpec& part,
                                                         const std::string& name) const {
  FeedForwardParameters out;
  out.up.weight = up(part, name, true);
  out.down.weight = single(sharded(name + ".down.weight", {width_, part.width}, 1, spec_.residual_init_std));
  out.up.scales = scales(out.up.weight);
  out.down.scales = scales(out.down.weight);
  if (!part.bias) return out;
  out.up.bias = up(part, name, false);
  out.down.bias = single(copied(name + ".down.bias", {width_}, 0.0f, 0.0));
  return out;
}

ParameterBlock ParameterDescription::experts(const MixtureSpec& mixture, const std::string& name,
                                             bool up) const {
  ParameterBlock block;
  const Part held = share_.experts.part(mixture.routing.num_experts);
  const int64_t width = mixture.expert.width, hidden = width_;
  for (int64_t e = held.begin; e < held.end; ++e) {
    const auto add = [&](const char* part, const Shape& shape, int dim, double std) {
      Parameter& p = block.members.emplace_back(
          Parameter::part_of(fmt::format("{}.experts.{}{}.weight", name, e, part), shape, dim,
                             share_.expert_tensor.part(width), 0.0f, static_cast<float>(std)));
      p.expert = static_cast<int>(e);
    };
    if (up && is_gated(mixture.expert.activation)) add(".gate", {width, hidden}, 0, spec_.init_std);
    if (up) add(".up", {width, hidden}, 0, spec_.init_std);
    if (!up) add(".down", {hidden, width}, 1, spec_.residual_init_std);
  }
  return block;
}

MixtureParameters ParameterDescription::mixture(const MixtureSpec& mixture, const std::string& name) const {
  MixtureParameters out;
  Parameter router =
      copied(name + ".router.weight", {mixture.routing.num_experts, width_}, 0.0f, spec_.init_std);
  router.is_gradient_partial = true;  // each tensor-parallel rank sees its own rows
  out.router = single(std::move(router));
  out.up = experts(mixture, name, true);
  out.down = experts(mixture, name, false);
  out.up_scales = scales(out.up);
  out.down_scales = scales(out.down);
  if (mixture.shared) out.shared = feed_forward(*mixture.shared, name + ".shared");
  return out;
}

void ParameterDescription::add_mixer(const BlockSpec& block, const std::string& name,
                                     BlockParameters& out) const {
  if (block.convolution) {
    out.convolution = convolution(*block.convolution, name + ".convolution");
  } else {
    out.attention = attention(block.attention, name + ".attention");
  }
}

// Of the description of what is narrow; the linear layers around it see the whole model's width.
void ParameterDescription::add_bottleneck(const BlockSpec& block, const std::string& name,
                                          BlockParameters& out) const {
  BottleneckParameters& all = out.bottleneck.emplace();
  all.norm = ParameterDescription(spec_, share_).norm(block.norm, name + ".bottleneck_norm");
  const auto whole = [&](const char* part, const Shape& shape, double std) {
    Parameter p = copied(name + part, shape, 0.0f, std);
    if (share_.sequence) p.is_gradient_partial = true;
    return single(std::move(p));
  };
  all.in.weight = whole(".bottleneck.in.weight", {width_, spec_.hidden_size}, spec_.init_std);
  all.out.weight = whole(".bottleneck.out.weight", {spec_.hidden_size, width_}, spec_.residual_init_std);
  all.in.scales = scales(all.in.weight);
  all.out.scales = scales(all.out.weight);
  add_mixer(block, name, out);
  out.attention_norm = norm(block.norm, name + ".attention_norm");
  for (int64_t k = 0; k < block.bottleneck->num_feed_forwards; ++k) {
    all.parts.push_back({norm(block.norm, fmt::format("{}.ffn_norm.{}", name, k)),
                         feed_forward(block.feed_forward, fmt::format("{}.ffn.{}", name, k))});
  }
}

BlockParameters ParameterDescription::block(int64_t index) const {
  const BlockSpec& block = spec_.blocks[static_cast<size_t>(index)];
  const std::string name = block_name(index);
  BlockParameters out;
  if (block.bottleneck) {
    ParameterDescription(spec_, share_, block.bottleneck->width).add_bottleneck(block, name, out);
    return out;
  }
  add_mixer(block, name, out);
  if (block.norms_before()) {
    out.attention_norm = norm(block.norm, name + ".attention_norm");
    out.ffn_norm = norm(block.norm, name + ".ffn_norm");
  }
  if (block.norms_after()) {
    out.attention_post_norm = norm(block.norm, name + ".attention_post_norm");
    out.ffn_post_norm = norm(block.norm, name + ".ffn_post_norm");
  }
  if (block.mixture) {
    out.mixture = mixture(*block.mixture, name + ".ffn");
  } else {
    out.feed_forward = feed_forward(block.feed_forward, name + ".ffn");
  }
  return out;
}

HeadParameters ParameterDescription::head(bool reads_embedding) const {
  HeadParameters out{.norm = norm(spec_.head.norm, "final_norm"), .weight = {}};
  if (spec_.head.tied && reads_embedding) return out;
  Parameter p = sharded(spec_.head.tied ? "embedding.tokens.weight" : "head.weight",
                        {spec_.vocab_size, spec_.hidden_size}, 0, spec_.init_std);
  out.weight = single(std::move(p));
  return out;
}

}  // namespace trireme
