#include "models/formats/gguf_differences.h"

#include <cmath>
#include <functional>

#include <fmt/ranges.h>

#include "models/config/weight_sharing.h"
#include "models/spec/model_spec.h"

namespace trireme {

namespace {

using Values = std::vector<double>;

template <class T>
double number(const T& value) {
  return static_cast<double>(value);
}

/// An option and what it makes of a block.
struct BlockAspect {
  const char* option;
  std::function<Values(const BlockSpec&)> of;
};
/// An option and what it makes of the rest.
struct ModelAspect {
  const char* option;
  std::function<Values(const ModelSpec&)> of;
};

/// The factor of cosines and sines that is computed.
double attention_factor(const RotarySpec& r) {
  if (r.attention_factor > 0) return r.attention_factor;
  if (r.scaling == RotaryScaling::yarn) return 0.1 * std::log(r.scaling_factor) + 1;
  return std::sqrt(1 + std::log(r.scaling_factor) / std::log(number(r.original_positions)));
}

bool is_scaled(const RotarySpec& r) { return r.dims > 0 && r.scaling_factor != 1; }

bool is_scaled_by(const RotarySpec& r, RotaryScaling kind) { return is_scaled(r) && r.scaling == kind; }

/// longrope's factor counts for the attention factor alone.
Values scaling_values(const RotarySpec& r) {
  if (!is_scaled(r)) return {};
  return {number(r.scaling), r.scaling == RotaryScaling::longrope ? 0 : r.scaling_factor};
}

Values original_values(const RotarySpec& r) {
  return is_scaled(r) && r.scaling != RotaryScaling::linear ? Values{number(r.original_positions)} : Values();
}

Values attention_factor_values(const RotarySpec& r) {
  const bool has_one = is_scaled_by(r, RotaryScaling::yarn) || is_scaled_by(r, RotaryScaling::longrope);
  return has_one ? Values{attention_factor(r)} : Values();
}

Values theta_values(const RotarySpec& r) { return r.dims == 0 ? Values() : Values{r.theta}; }

Values pattern_values(const ops::KeyPattern& keys) {
  if (!keys) return {};
  Values values{number(keys.sinks), number(keys.stride),  number(keys.stride_keys),
                number(keys.block), number(keys.summary), number(keys.reach)};
  for (int64_t g = 0; g < keys.num_globals; ++g) values.push_back(keys.globals[static_cast<size_t>(g)]);
  return values;
}

Values bias_values(const BlockSpec& b) {
  return {number(b.attention.qkv_bias), number(b.attention.output_bias),
          b.mixture ? 0 : number(b.feed_forward.bias),
          b.norm.kind == NormKind::layer_norm ? number(b.norm.bias) : 0};
}

Values routing_values(const BlockSpec& b, const std::function<Values(const MixtureSpec&)>& of) {
  return b.mixture ? of(*b.mixture) : Values();
}

/// Of blocks that are scaled in this way.
BlockAspect of_scaling(const char* option, RotaryScaling kind,
                       const std::function<Values(const RotarySpec&)>& of) {
  return {option, [=](const BlockSpec& b) {
            return is_scaled_by(b.attention.rotary, kind) ? of(b.attention.rotary) : Values();
          }};
}

std::vector<BlockAspect> block_aspects() {
  const auto mixture = [](std::function<Values(const MixtureSpec&)> of) {
    return [of = std::move(of)](const BlockSpec& b) { return routing_values(b, of); };
  };
  return {
      {"model.heads", [](const BlockSpec& b) { return Values{number(b.attention.num_heads)}; }},
      {"model.kv-heads", [](const BlockSpec& b) { return Values{number(b.attention.num_kv_heads)}; }},
      {"model.head-dim", [](const BlockSpec& b) { return Values{number(b.attention.head_dim)}; }},
      {"model.ffn",
       [](const BlockSpec& b) { return b.mixture ? Values() : Values{number(b.feed_forward.width)}; }},
      {"model.norm", [](const BlockSpec& b) { return Values{number(b.norm.kind)}; }},
      {"model.norm-eps", [](const BlockSpec& b) { return Values{b.norm.eps}; }},
      {"model.norm-placement", [](const BlockSpec& b) { return Values{number(b.norm_placement)}; }},
      {"model.parallel-residual", [](const BlockSpec& b) { return Values{number(b.parallel_residual)}; }},
      {"model.activation", [](const BlockSpec& b) { return Values{number(b.feed_forward.activation)}; }},
      {"model.bias", bias_values},
      {"model.qk-norm",
       [](const BlockSpec& b) {
         return Values{number(b.attention.qk_norm.has_value()), number(b.attention.norms_whole_projection)};
       }},
      {"model.query-scalar", [](const BlockSpec& b) { return Values{b.attention.scale}; }},
      {"model.attention-soft-cap", [](const BlockSpec& b) { return Values{b.attention.soft_cap}; }},
      {"model.window", [](const BlockSpec& b) { return Values{number(b.attention.window)}; }},
      {"model.convolution",
       [](const BlockSpec& b) { return Values{b.convolution ? number(b.convolution->kernel) : 0}; }},
      {"model.bottleneck",
       [](const BlockSpec& b) { return Values{b.bottleneck ? number(b.bottleneck->width) : 0}; }},
      {"model.patterns", [](const BlockSpec& b) { return pattern_values(b.attention.keys); }},
      {"model.rotary-dims", [](const BlockSpec& b) { return Values{number(b.attention.rotary.dims)}; }},
      {"model.rotary-theta", [](const BlockSpec& b) { return theta_values(b.attention.rotary); }},
      {"model.rotary-scaling", [](const BlockSpec& b) { return scaling_values(b.attention.rotary); }},
      {"model.rotary-original-positions",
       [](const BlockSpec& b) { return original_values(b.attention.rotary); }},
      {"model.rotary-attention-factor",
       [](const BlockSpec& b) { return attention_factor_values(b.attention.rotary); }},
      of_scaling("model.rotary-low-freq-factor", RotaryScaling::llama3,
                 [](const RotarySpec& r) { return Values{r.low_freq_factor}; }),
      of_scaling("model.rotary-high-freq-factor", RotaryScaling::llama3,
                 [](const RotarySpec& r) { return Values{r.high_freq_factor}; }),
      of_scaling("model.rotary-beta-fast", RotaryScaling::yarn,
                 [](const RotarySpec& r) { return Values{r.beta_fast}; }),
      of_scaling("model.rotary-beta-slow", RotaryScaling::yarn,
                 [](const RotarySpec& r) { return Values{r.beta_slow}; }),
      of_scaling("model.rotary-truncate", RotaryScaling::yarn,
                 [](const RotarySpec& r) { return Values{number(r.truncate)}; }),
      of_scaling("model.rotary-short-factors", RotaryScaling::longrope,
                 [](const RotarySpec& r) { return r.short_factors; }),
      of_scaling("model.rotary-long-factors", RotaryScaling::longrope,
                 [](const RotarySpec& r) { return r.long_factors; }),
      {"moe.experts",
       [](const BlockSpec& b) { return Values{b.mixture ? number(b.mixture->routing.num_experts) : 0}; }},
      {"moe.top-k",
       mixture([](const MixtureSpec& m) { return Values{number(m.routing.experts_per_token)}; })},
      {"moe.ffn", mixture([](const MixtureSpec& m) { return Values{number(m.expert.width)}; })},
      {"moe.shared-ffn",
       mixture([](const MixtureSpec& m) { return Values{m.shared ? number(m.shared->width) : 0}; })},
      {"moe.score", mixture([](const MixtureSpec& m) { return Values{number(m.routing.score)}; })},
      {"moe.groups", mixture([](const MixtureSpec& m) {
         const bool chooses = m.routing.num_groups > m.routing.groups_per_token;
         return chooses ? Values{number(m.routing.num_groups), number(m.routing.groups_per_token)} : Values();
       })},
      {"moe.normalize",
       mixture([](const MixtureSpec& m) { return Values{number(m.routing.normalize_gates)}; })},
      {"moe.gate-scale", mixture([](const MixtureSpec& m) { return Values{m.routing.gate_scale}; })},
      {"moe.capacity", mixture([](const MixtureSpec& m) {
         return m.routing.capacity == CapacityMode::dropless ? Values() : Values{m.routing.capacity_factor};
       })},
      {"moe.bias-rate",
       mixture([](const MixtureSpec& m) { return Values{number(m.routing.bias_rate > 0)}; })},
      {"model.share", [](const BlockSpec& b) { return Values{number(b.weights_of.value_or(-1))}; }},
  };
}

std::vector<ModelAspect> model_aspects() {
  return {
      {"model.vocab", [](const ModelSpec& m) { return Values{number(m.vocab_size)}; }},
      {"model.hidden", [](const ModelSpec& m) { return Values{number(m.hidden_size)}; }},
      {"model.layers", [](const ModelSpec& m) { return Values{number(m.num_blocks())}; }},
      {"model.positions", [](const ModelSpec& m) { return Values{number(m.embedding.num_positions > 0)}; }},
      {"model.max-positions", [](const ModelSpec& m) { return Values{number(m.embedding.num_positions)}; }},
      {"model.scales-embedding", [](const ModelSpec& m) { return Values{m.embedding.scale}; }},
      {"model.tied", [](const ModelSpec& m) { return Values{number(m.head.tied)}; }},
      {"model.logit-soft-cap", [](const ModelSpec& m) { return Values{m.head.soft_cap}; }},
  };
}

bool are_equal(const Values& a, const Values& b) {
  constexpr double kRoundings = 4e-7;
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(a[i] - b[i]) <= kRoundings * std::max(std::abs(a[i]), std::abs(b[i])))) return false;
  }
  return true;
}

std::string values_text(const Values& values) {
  constexpr size_t kMost = 4;
  if (values.empty()) return "none";
  if (values.size() <= kMost) return fmt::format("{:g}", fmt::join(values, " "));
  return fmt::format("{:g} ...", fmt::join(values.begin(), values.begin() + kMost, " "));
}

const char* on_off(bool value) { return value ? "on" : "off"; }

/// Kinds as options have them; empty where `option` is a number.
std::string kind_text(std::string_view option, const ModelConfig& c) {
  constexpr const char* kPlacements[] = {"pre", "both", "post"};
  constexpr const char* kActivations[] = {"gelu", "swiglu", "geglu", "gelu-erf"};
  constexpr const char* kBiases[] = {"off", "qkv", "attention", "on"};
  constexpr const char* kQkNorms[] = {"off", "head", "projection"};
  constexpr const char* kScalings[] = {"llama3", "linear", "yarn", "longrope"};
  const auto index = [](auto kind) { return static_cast<size_t>(kind); };
  if (option == "model.norm") return c.norm == NormKind::layer_norm ? "layernorm" : "rmsnorm";
  if (option == "model.norm-placement") return kPlacements[index(c.norm_placement)];
  if (option == "model.activation") return kActivations[index(c.activation)];
  if (option == "model.bias") return kBiases[index(c.bias)];
  if (option == "model.qk-norm") return kQkNorms[index(c.qk_norm)];
  if (option == "model.positions") return c.positions == PositionKind::learned ? "learned" : "rotary";
  if (option == "model.parallel-residual") return on_off(c.parallel_residual);
  if (option == "model.scales-embedding") return on_off(c.scales_embedding);
  if (option == "model.tied") return on_off(c.tied_embeddings);
  if (option == "model.share") return sharing_text(c);
  if (option == "model.patterns") return c.patterns.empty() ? "none" : to_text(c.patterns);
  if (option == "model.query-scalar")
    return fmt::format("{:g}", c.query_scalar > 0 ? c.query_scalar : number(c.head_dim()));
  if (option == "moe.score") return c.moe.score == RouterScore::softmax ? "softmax" : "sigmoid";
  if (option == "moe.normalize") return on_off(c.moe.normalize_gates);
  if (option == "moe.bias-rate") return fmt::format("{:g}", c.moe.bias_rate);
  if (option != "model.rotary-scaling") return "";
  return c.rotary_scaling_factor == 1
             ? std::string("1 (none)")
             : fmt::format("{:g} ({})", c.rotary_scaling_factor, kScalings[index(c.rotary_scaling)]);
}

/// What counts of a config.
ModelSpec compared(ModelConfig config) {
  if (config.window >= config.max_positions) config.window = 0;
  ModelSpec spec = spec_of(config);
  config.convolution.kernel = 0;  // where one is, attention has nothing that could differ
  const ModelSpec attending = spec_of(config);
  for (size_t i = 0; i < spec.blocks.size(); ++i) spec.blocks[i].attention = attending.blocks[i].attention;
  return spec;
}

}  // namespace

std::vector<GgufDifference> gguf_differences(const ModelConfig& mine, const ModelConfig& other) {
  std::vector<GgufDifference> differences;
  const ModelSpec a = compared(mine), b = compared(other);
  const auto compare = [&](const char* option, const std::string& where, const Values& x, const Values& y) {
    if (are_equal(x, y)) return true;
    const std::string one = kind_text(option, mine), two = kind_text(option, other);
    const bool are_kinds = !one.empty() && !two.empty() && one != two;
    differences.push_back(
        {option, are_kinds ? one : values_text(x), (are_kinds ? two : values_text(y)) + where});
    return false;
  };
  for (const ModelAspect& aspect : model_aspects()) compare(aspect.option, "", aspect.of(a), aspect.of(b));
  for (const BlockAspect& aspect : block_aspects()) {
    for (int64_t i = 0; i < std::min(a.num_blocks(), b.num_blocks()); ++i) {
      const auto block = static_cast<size_t>(i);
      const bool all_alike =
          a.num_blocks() < 2 || (aspect.of(a.blocks.front()) == aspect.of(a.blocks.back()) &&
                                 aspect.of(b.blocks.front()) == aspect.of(b.blocks.back()));
      const std::string where = i == 0 && all_alike ? "" : fmt::format(" (block {})", i);
      if (!compare(aspect.option, where, aspect.of(a.blocks[block]), aspect.of(b.blocks[block]))) break;
    }
  }
  return differences;
}

std::string text_of(const std::vector<GgufDifference>& differences) {
  std::vector<std::string> parts;
  for (const GgufDifference& d : differences)
    parts.push_back(fmt::format("{} {}, not {}", d.option, d.mine, d.other));
  return fmt::format("{}", fmt::join(parts, "; "));
}

}  // namespace trireme
