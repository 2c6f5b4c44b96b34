// ModelConfig: the architecture of a model, from which everything about its structure is computed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/config/attention_pattern.h"
#include "models/config/edge_config.h"
#include "models/config/kinds.h"
#include "models/config/moe_config.h"
#include "models/config/quantization_config.h"

namespace trireme {

/// One decoder-only Transformer. Its family (models/families) sets the kinds; the numbers come from a preset
/// or from options.
struct ModelConfig {
  std::string name = "custom";  ///< preset it came from
  ModelFamily family = ModelFamily::gpt2;

  int64_t vocab_size = 0;  ///< 0 until the tokenizer is known
  int64_t num_layers = 12;
  int64_t share = 0;  ///< block i uses the weights of block i % share; 0: each has its own
  /// Block i uses the weights of this block, itself or an earlier one that has its own; empty: as `share`
  /// says.
  std::vector<int64_t> weights_from = {};
  int64_t hidden_size = 768;
  int64_t num_heads = 12;
  int64_t num_kv_heads = 12;     ///< divides num_heads; fewer than num_heads is grouped-query attention
  int64_t given_head_dim = 0;    ///< dimensions of a head; 0: hidden / heads
  int64_t ffn_size = 3072;       ///< hidden size of the feed-forward network
  int64_t max_positions = 1024;  ///< rows of the learned position table; the longest sequence

  NormKind norm = NormKind::layer_norm;
  ActivationKind activation = ActivationKind::gelu;
  PositionKind positions = PositionKind::learned;
  BiasKind bias = BiasKind::all;
  bool tied_embeddings = true;  ///< the output head is the token embedding

  NormPlacement norm_placement = NormPlacement::before;
  bool parallel_residual = false;  ///< x + attention(norm(x)) + ffn(norm'(x)) (GPT-NeoX, arXiv 2204.06745)
  QkNormKind qk_norm = QkNormKind::none;
  bool scales_embedding = false;  ///< token embeddings times sqrt(hidden)
  double query_scalar = 0;        ///< scores are divided by its root; 0: by the root of the head size
  double attention_soft_cap = 0;  ///< c: scores s become c * tanh(s / c) (arXiv 2408.00118); 0: off
  double logit_soft_cap = 0;      ///< the same for the logits
  int64_t window = 0;  ///< sliding window: tokens attended to, itself included (arXiv 2004.05150); 0: all
  /// Every this many blocks, one has full attention instead of the window; 0: all blocks have the window.
  int64_t window_pattern = 0;
  int64_t window_from = 0;  ///< blocks before this one have full attention too
  /// Sparse attention: block i has the pattern i % size, in place of what `window` says; empty: none.
  std::vector<AttentionPattern> patterns = {};

  double norm_eps = 1e-5;
  double rotary_theta = 10000.0;
  int64_t rotary_dims = 0;  ///< dimensions of a head that are turned, the first ones; 0: all
  /// RoPE theta of blocks with a window, which are not scaled then (Gemma 3, arXiv 2503.19786); 0: as others.
  double rotary_local_theta = 0;
  int64_t no_rotary_every = 0;  ///< every this many blocks, one has no positions (arXiv 2501.18795); 0: none
  double rotary_scaling_factor = 1.0;  ///< of RoPE scaling; 1: none
  RotaryScaling rotary_scaling = RotaryScaling::llama3;
  int64_t rotary_original_positions = 8192;
  double rotary_low_freq_factor = 1.0;   ///< llama3
  double rotary_high_freq_factor = 4.0;  ///< llama3
  double rotary_beta_fast = 32;          ///< yarn
  double rotary_beta_slow = 1;           ///< yarn
  bool rotary_truncate = true;           ///< yarn: the bounds of its ramp are whole dimensions
  /// yarn, longrope: factor of cosines and sines (of the scores its square); 0: the paper's.
  double rotary_attention_factor = 0;
  /// longrope: of each frequency, rotary dims / 2; short ones up to the original positions, else long ones.
  std::vector<double> rotary_short_factors, rotary_long_factors;

  /// Weights start as N(0, init_std); projections back into the residual stream as N(0, init_std / sqrt(2 *
  /// num_layers)) (GPT-2, Radford et al. 2019, section 2.3).
  double init_std = 0.02;

  MoeConfig moe;
  ConvolutionConfig convolution;
  BottleneckConfig bottleneck;
  /// Ascending numbers of blocks, fewer than all: after so many the head can read too (early exit).
  std::vector<int64_t> exits = {};

  /// What it is trained through; learned scales are parameters of the model.
  QuantizationConfig quantization;

  /// Width of what attention and feed-forward parts take and give.
  int64_t inner_size() const { return bottleneck.width > 0 ? bottleneck.width : hidden_size; }
  int64_t head_dim() const { return given_head_dim > 0 ? given_head_dim : inner_size() / num_heads; }
  /// The block whose weights block `index` uses: an earlier one, or itself.
  int64_t weights_of(int64_t index) const {
    if (static_cast<size_t>(index) < weights_from.size()) return weights_from[static_cast<size_t>(index)];
    return weights_from.empty() && share > 0 ? index % share : index;
  }
  bool shares_weights() const { return share > 0 || !weights_from.empty(); }
  /// The window of block `index`.
  int64_t window_of(int64_t index) const {
    if (!patterns.empty()) return patterns[static_cast<size_t>(index) % patterns.size()].window;
    return index < window_from || (window_pattern > 0 && (index + 1) % window_pattern == 0) ? 0 : window;
  }
  bool turns(int64_t index) const {  ///< whether block `index` has rotary positions
    return positions == PositionKind::rotary && (no_rotary_every == 0 || (index + 1) % no_rotary_every != 0);
  }
  int64_t expert_ffn_size() const { return moe.expert_ffn_size > 0 ? moe.expert_ffn_size : ffn_size; }

  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

/// Standard deviation of the initial projections back into the residual stream.
float residual_init_std(const ModelConfig& config);

/// All errors of the config, each with the values and the nearest that work; empty if there are none.
std::vector<std::string> errors_of(const ModelConfig& config);

}  // namespace trireme
