#include <array>

#include <fmt/format.h>

#include "launch/report/banner.h"
#include "launch/report/number_text.h"
#include "models/config/weight_sharing.h"
#include "models/families/family.h"

namespace trireme::launch {

namespace {

std::string experts_text(const ModelConfig& c) {
  const MoeConfig& moe = c.moe;
  if (moe.num_experts == 0) return "";
  int64_t num_blocks = 0;
  for (int64_t i = 0; i < c.num_layers; ++i) num_blocks += moe.is_in(i) ? 1 : 0;
  std::string text = fmt::format(", {} experts of {} in {}, top-{}", moe.num_experts, c.expert_ffn_size(),
                                 counted(num_blocks, "block"), moe.experts_per_token);
  if (moe.shared_ffn_size > 0) text += fmt::format(", shared {}", moe.shared_ffn_size);
  if (moe.jitter > 0) text += fmt::format(", jitter {:g}", moe.jitter);
  if (moe.capacity != CapacityMode::dropless) {
    text += fmt::format(", capacity {:g} ({})", moe.capacity_factor,
                        moe.capacity == CapacityMode::pad ? "padded" : "rest dropped");
  }
  std::string balance;
  const auto add = [&](double factor, const char* what) {
    if (factor > 0) balance += fmt::format("{}{} {:g}", balance.empty() ? "" : ", ", what, factor);
  };
  add(moe.aux_loss, moe.aux_scope == BalanceScope::batch ? "auxiliary loss per batch" : "auxiliary loss");
  add(moe.z_loss, "z-loss");
  add(moe.bias_rate, "biases");
  return text + (balance.empty() ? ", not balanced" : " (" + balance + ")");
}

// What is unlike the family's usual.
class Differences {
 public:
  explicit Differences(const ModelConfig& config) : c_(config), usual_(config) {
    apply_family(usual_, config.family);
  }
  template <class T>
  bool differs(T ModelConfig::*field) const {
    return c_.*field != usual_.*field;
  }
  /// A kind, by the words of its values.
  template <class T, size_t N>
  void name(T ModelConfig::*field, const std::array<const char*, N>& words) {
    if (differs(field)) add(words[static_cast<size_t>(c_.*field)]);
  }
  /// A number, "WORDS 4"; 0 stands for `none`.
  template <class T>
  void number(T ModelConfig::*field, const char* words, const char* none) {
    if (!differs(field)) return;
    add(c_.*field == T{} ? std::string(none) : fmt::format("{} {}", words, c_.*field));
  }
  void add(std::string_view what) { text_ += fmt::format(", {}", what); }
  std::string text() && { return std::move(text_); }

 private:
  const ModelConfig& c_;
  ModelConfig usual_;
  std::string text_;
};

void add_parts(Differences& d) {
  d.name(&ModelConfig::norm, std::array{"LayerNorm", "RMSNorm"});
  d.name(&ModelConfig::norm_placement,
         std::array{"norms before parts", "norms before and behind parts", "norms behind parts"});
  d.name(&ModelConfig::parallel_residual, std::array{"parts in sequence", "parallel residual"});
  d.name(&ModelConfig::activation, std::array{"GELU", "SwiGLU", "GeGLU", "exact GELU"});
  d.name(&ModelConfig::bias,
         std::array{"no biases", "biases of query, key and value", "biases of attention", "biases"});
  d.name(&ModelConfig::tied_embeddings, std::array{"head of its own", "tied head"});
  d.name(&ModelConfig::scales_embedding, std::array{"embedding not scaled", "scaled embedding"});
  d.number(&ModelConfig::logit_soft_cap, "logit soft cap", "no logit soft cap");
}

void add_attention(const ModelConfig& c, Differences& d) {
  d.name(&ModelConfig::qk_norm, std::array{"no QK norm", "QK norm", "QK norm of the projections"});
  d.number(&ModelConfig::query_scalar, "query scalar", "query scalar of the head size");
  d.number(&ModelConfig::attention_soft_cap, "attention soft cap", "no attention soft cap");
  if (!c.patterns.empty()) d.add(fmt::format("attention patterns {}", to_text(c.patterns)));
  d.number(&ModelConfig::window, "window", "no window");
  if (c.window == 0) return;
  d.number(&ModelConfig::window_pattern, "full attention every", "window in all blocks");
  d.number(&ModelConfig::window_from, "window from block", "window from the first block");
}

void add_scaling(const ModelConfig& c, Differences& d) {
  constexpr std::array<const char*, 4> kKinds = {"llama3", "linear", "YaRN", "longrope"};
  if (c.rotary_scaling_factor == 1) return;
  d.add(fmt::format("RoPE scaled by {} ({})", c.rotary_scaling_factor,
                    kKinds[static_cast<size_t>(c.rotary_scaling)]));
}

void add_positions(const ModelConfig& c, Differences& d) {
  d.name(&ModelConfig::positions, std::array{"learned positions", "RoPE"});
  if (c.positions != PositionKind::rotary) return;
  d.number(&ModelConfig::rotary_theta, "RoPE theta", "");
  if (c.window > 0) d.number(&ModelConfig::rotary_local_theta, "local RoPE theta", "one RoPE theta");
  d.number(&ModelConfig::rotary_dims, "rotary dims", "all dims rotary");
  d.number(&ModelConfig::no_rotary_every, "no positions every", "positions in all blocks");
  add_scaling(c, d);
}

std::string edge_text(const ModelConfig& c) {
  std::string text;
  if (c.bottleneck.width > 0) {
    text += fmt::format(", {} of them in each block, which is {} wide inside", c.bottleneck.num_feed_forwards,
                        c.bottleneck.width);
  }
  if (c.convolution.kernel == 0) return text;
  int64_t count = 0;
  for (int64_t i = 0; i < c.num_layers; ++i) count += c.convolution.is_in(i) ? 1 : 0;
  return text + fmt::format(", {} layers with convolutions of {} tokens in the place of attention", count,
                            c.convolution.kernel);
}

}  // namespace

std::string model_line(const ModelConfig& c) {
  std::string text = fmt::format("{} ({}): {} layers", c.name, to_string(c.family), c.num_layers);
  if (c.shares_weights()) text += fmt::format(" sharing the weights of {}", num_distinct_layers(c));
  text += fmt::format(", hidden {}, {} heads", c.hidden_size, c.num_heads);
  if (c.num_kv_heads != c.num_heads) text += fmt::format(" ({} key-value)", c.num_kv_heads);
  text += fmt::format(", feed-forward {}", c.ffn_size) + experts_text(c) + edge_text(c);
  if (c.vocab_size > 0) text += fmt::format(", vocabulary {}", c.vocab_size);
  Differences differences(c);
  add_parts(differences);
  add_attention(c, differences);
  add_positions(c, differences);
  return text + std::move(differences).text();
}

}  // namespace trireme::launch
