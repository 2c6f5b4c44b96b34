#include "models/config/model_config.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "models/config/exit_config.h"
#include "models/config/rotary_errors.h"
#include "models/config/weight_sharing.h"
#include "parallel/plan/nearest.h"
#include "runtime/base/integers.h"

namespace trireme {

namespace {

class Errors {
 public:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    list_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  void add_all(const std::vector<std::string>& errors) {
    list_.insert(list_.end(), errors.begin(), errors.end());
  }
  bool need_positive(const char* key, int64_t value) {
    if (value < 1) add("model.{} is {}: it must be 1 or more", key, value);
    return value >= 1;
  }
  void need_zero_or_more(const char* key, double value) {
    if (!(value >= 0 && std::isfinite(value)))
      add("model.{} is {}: it must be above 0, or 0 for none", key, value);
  }
  std::vector<std::string> take() { return std::move(list_); }

 private:
  std::vector<std::string> list_;
};

void check_heads(const ModelConfig& c, Errors& errors) {
  const char* name = c.bottleneck.width > 0 ? "bottleneck" : "hidden";
  const int64_t width = c.inner_size();
  if (c.given_head_dim == 0 && width % c.num_heads != 0) {
    errors.add("model.{} {} does not divide by model.heads {}: nearest are {} {}, or heads {}", name, width,
               c.num_heads, name, nearest_multiples(c.num_heads, width),
               nearest_divisors(width, c.num_heads));
  } else if (c.positions == PositionKind::rotary && c.rotary_dims == 0 && c.head_dim() % 2 != 0) {
    constexpr const char* kWhy = "RoPE rotates pairs, so it must be even; nearest are";
    if (c.given_head_dim > 0) {
      errors.add("model.head-dim is {}: {} {}", c.given_head_dim, kWhy,
                 nearest_multiples(2, c.given_head_dim));
    } else {
      errors.add("model.{} {} / model.heads {} = head size {}: {} {} {}", name, width, c.num_heads,
                 c.head_dim(), kWhy, name, nearest_multiples(2 * c.num_heads, width));
    }
  }
  if (c.num_heads % c.num_kv_heads != 0) {
    errors.add("model.kv-heads {} does not divide model.heads {}: nearest are kv-heads {}", c.num_kv_heads,
               c.num_heads, nearest_divisors(c.num_heads, c.num_kv_heads));
  }
}

void check_residual(const ModelConfig& c, Errors& errors) {
  if (!c.parallel_residual || c.norm_placement == NormPlacement::before) return;
  errors.add(
      "model.parallel-residual on and model.norm-placement {}: side by side, attention and feed-forward have "
      "a norm "
      "of their input alone; nearest are model.norm-placement pre, or model.parallel-residual off",
      c.norm_placement == NormPlacement::both ? "both" : "post");
}

void check_window(const ModelConfig& c, Errors& errors) {
  if (c.window < 0)
    errors.add("model.window is {}: it must be 1 or more, or 0 for all tokens before one", c.window);
  if (c.window_pattern < 0 || c.window_pattern == 1) {
    errors.add(
        "model.window-pattern is {}: it must be 0 (the window in every block), or 2 or more (every "
        "N-th block without it){}",
        c.window_pattern, c.window_pattern == 1 ? "; for no window in any block: --model.window 0" : "");
  }
  if (c.window_from < 0 || (c.window > 0 && c.num_layers > 0 && c.window_from >= c.num_layers)) {
    errors.add(
        "model.window-from is {}: with model.layers {} it must be 0 to {}; for no window in any block: "
        "--model.window 0",
        c.window_from, c.num_layers, c.num_layers - 1);
  }
}

void check_convolution(const ModelConfig& c, Errors& errors) {
  const ConvolutionConfig& convolution = c.convolution;
  if (convolution.kernel == 0) return;
  if (convolution.kernel < 2 || convolution.kernel > ConvolutionConfig::kMostTokens)
    errors.add("model.convolution is {}: a convolution looks at 2 to {} tokens; 0: no block is one",
               convolution.kernel, ConvolutionConfig::kMostTokens);
  if (convolution.every < 1)
    errors.add("model.convolution-every is {}: it must be 1 or more", convolution.every);
  if (convolution.first_block < 0 || (c.num_layers > 0 && convolution.first_block >= c.num_layers)) {
    errors.add("model.convolution-from is {}: with model.layers {} it must be 0 to {}",
               convolution.first_block, c.num_layers, c.num_layers - 1);
  }
}

void check_bottleneck(const ModelConfig& c, Errors& errors) {
  const BottleneckConfig& bottleneck = c.bottleneck;
  if (bottleneck.width == 0) return;
  if (bottleneck.width < 0 || bottleneck.width >= c.hidden_size) {
    errors.add("model.bottleneck is {}: blocks are narrower than model.hidden {}; 0: they are as wide",
               bottleneck.width, c.hidden_size);
  }
  if (bottleneck.num_feed_forwards < 1 || bottleneck.num_feed_forwards > 64) {
    errors.add("model.bottleneck-ffns is {}: it must be 1 to 64", bottleneck.num_feed_forwards);
  }
  if (c.moe.num_experts > 0) {
    errors.add(
        "model.bottleneck {} and moe.experts {}: blocks that are narrow inside have dense feed-forward "
        "networks; use --model.bottleneck 0, or --moe.experts 0",
        bottleneck.width, c.moe.num_experts);
  }
  if (c.norm_placement != NormPlacement::before || c.parallel_residual) {
    errors.add(
        "model.bottleneck {}: such blocks have norms of what their parts take, one part after the other; use "
        "--model.norm-placement pre --model.parallel-residual off",
        bottleneck.width);
  }
}

void check_patterns(const ModelConfig& c, Errors& errors) {
  if (c.patterns.empty()) return;
  const auto count = std::ssize(c.patterns);
  if (c.window != 0) {
    errors.add(
        "model.patterns and model.window {}: patterns say what each block sees, windows among it; use "
        "--model.window 0",
        c.window);
  }
  if (c.num_layers > 0 && count > c.num_layers)
    errors.add("model.patterns has {} patterns: with model.layers {} at most {}", count, c.num_layers,
               c.num_layers);
  for (const AttentionPattern& pattern : c.patterns) {
    const std::string why = why_not(pattern.keys);
    if (!why.empty()) errors.add("model.patterns: {}", why);
    const ops::KeyPattern& keys = pattern.keys;
    const int64_t last = keys.num_globals > 0 ? keys.globals[static_cast<size_t>(keys.num_globals - 1)] : 0;
    if (c.max_positions > 0 && last >= c.max_positions)
      errors.add("model.patterns: '{}' has a global token at {}: with model.max-positions {} at most {}",
                 to_text(pattern), last, c.max_positions, c.max_positions - 1);
  }
}

void check_constants(const ModelConfig& c, Errors& errors) {
  if (!(c.norm_eps > 0)) errors.add("model.norm-eps is {}: it must be above 0", c.norm_eps);
  if (!(c.init_std > 0)) errors.add("model.init-std is {}: it must be above 0", c.init_std);
  errors.need_zero_or_more("query-scalar", c.query_scalar);
  errors.need_zero_or_more("attention-soft-cap", c.attention_soft_cap);
  errors.need_zero_or_more("logit-soft-cap", c.logit_soft_cap);
}

}  // namespace

float residual_init_std(const ModelConfig& config) {
  return static_cast<float>(config.init_std / std::sqrt(2.0 * static_cast<double>(config.num_layers)));
}

std::vector<std::string> errors_of(const ModelConfig& config) {
  Errors errors;
  if (config.vocab_size < 0) {
    errors.add("model.vocab is {}: it must be 1 or more, or 0 for the tokenizer's", config.vocab_size);
  }
  const bool heads_positive = static_cast<int>(errors.need_positive("hidden", config.hidden_size)) &
                              static_cast<int>(errors.need_positive("heads", config.num_heads)) &
                              static_cast<int>(errors.need_positive("kv-heads", config.num_kv_heads));
  errors.need_positive("layers", config.num_layers);
  check_residual(config, errors);
  check_convolution(config, errors);
  check_bottleneck(config, errors);
  errors.need_positive("ffn", config.ffn_size);
  errors.need_positive("max-positions", config.max_positions);
  if (heads_positive && config.inner_size() > 0) check_heads(config, errors);
  check_constants(config, errors);
  if (heads_positive) errors.add_all(rotary_errors(config));
  check_window(config, errors);
  errors.add_all(exit_errors(config));
  check_patterns(config, errors);
  const std::vector<std::string> of_mixture = errors_of(config.moe, config.num_layers);
  errors.add_all(of_mixture);
  if (of_mixture.empty()) errors.add_all(sharing_errors(config));
  return errors.take();
}

}  // namespace trireme
