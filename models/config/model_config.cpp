#include "models/config/model_config.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "models/config/rotary_errors.h"
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
  if (c.given_head_dim == 0 && c.hidden_size % c.num_heads != 0) {
    errors.add("model.hidden {} does not divide by model.heads {}: nearest are hidden {}, or heads {}",
               c.hidden_size, c.num_heads, nearest_multiples(c.num_heads, c.hidden_size),
               nearest_divisors(c.hidden_size, c.num_heads));
  } else if (c.positions == PositionKind::rotary && c.rotary_dims == 0 && c.head_dim() % 2 != 0) {
    constexpr const char* kWhy = "RoPE rotates pairs, so it must be even; nearest are";
    if (c.given_head_dim > 0) {
      errors.add("model.head-dim is {}: {} {}", c.given_head_dim, kWhy,
                 nearest_multiples(2, c.given_head_dim));
    } else {
      errors.add("model.hidden {} / model.heads {} = head size {}: {} hidden {}", c.hidden_size, c.num_heads,
                 c.head_dim(), kWhy, nearest_multiples(2 * c.num_heads, c.hidden_size));
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

void check_constants(const ModelConfig& c, Errors& errors) {
  if (!(c.norm_eps > 0)) errors.add("model.norm-eps is {}: it must be above 0", c.norm_eps);
  if (!(c.init_std > 0)) errors.add("model.init-std is {}: it must be above 0", c.init_std);
  errors.need_zero_or_more("query-scalar", c.query_scalar);
  errors.need_zero_or_more("attention-soft-cap", c.attention_soft_cap);
  errors.need_zero_or_more("logit-soft-cap", c.logit_soft_cap);
}

/// Whether layers that would share weights have the same parts.
bool can_share(const ModelConfig& c, int64_t share) {
  for (int64_t i = share; i < c.num_layers; ++i) {
    if (c.moe.is_in(i) != c.moe.is_in(i % share)) return false;
  }
  return true;
}

void check_sharing(const ModelConfig& c, Errors& errors) {
  if (c.share == 0 || c.num_layers < 1) return;
  if (c.share < 0 || c.share >= c.num_layers) {
    errors.add("model.share is {}: with model.layers {} {}", c.share, c.num_layers,
               c.num_layers == 1
                   ? std::string("there is nothing to share; 0 turns sharing off")
                   : fmt::format("no layers would share weights; use 1 to {}, or 0 to turn sharing off",
                                 c.num_layers - 1));
    return;
  }
  if (can_share(c, c.share)) return;
  std::string below, above;
  for (int64_t n = 1; n < c.num_layers; ++n) {
    if (can_share(c, n) && (n < c.share || above.empty())) (n < c.share ? below : above) = fmt::to_string(n);
  }
  const std::string both = below.empty() || above.empty() ? below + above : below + " or " + above;
  errors.add(
      "model.share {}: MoE layers (moe.from {}, moe.every {}) would share weights with dense layers; {}",
      c.share, c.moe.first_block, c.moe.every,
      both.empty() ? "no other value works: --moe.from 0 --moe.every 1 makes all layers MoE"
                   : "nearest that work are " + both);
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
  errors.need_positive("ffn", config.ffn_size);
  errors.need_positive("max-positions", config.max_positions);
  if (heads_positive) check_heads(config, errors);
  check_constants(config, errors);
  if (heads_positive) errors.add_all(rotary_errors(config));
  check_window(config, errors);
  const std::vector<std::string> of_mixture = errors_of(config.moe, config.num_layers);
  errors.add_all(of_mixture);
  if (of_mixture.empty()) check_sharing(config, errors);
  return errors.take();
}

}  // namespace trireme
