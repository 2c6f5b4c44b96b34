// ModelSpec: a model, block by block. Everything about its structure follows from this: parameters, what is
// kept for the backward pass, products, FLOPs, memory and placement.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/config/kinds.h"
#include "models/config/moe_config.h"
#include "models/config/quantization_config.h"
#include "runtime/ops/attention/key_pattern.h"

namespace trireme {

struct ModelConfig;

struct NormSpec {
  NormKind kind = NormKind::layer_norm;
  bool bias = true;  ///< of a LayerNorm
  double eps = 1e-5;

  friend bool operator==(const NormSpec&, const NormSpec&) = default;
};

/// Rotated queries and keys (arXiv 2104.09864).
struct RotarySpec {
  int64_t dims = 0;  ///< dimensions of a head that are turned, the first ones; 0: positions are not rotary
  double theta = 10000;
  RotaryScaling scaling = RotaryScaling::llama3;
  double scaling_factor = 1;  ///< 1: none
  int64_t original_positions = 8192;
  double low_freq_factor = 1, high_freq_factor = 4;           ///< llama3
  double beta_fast = 32, beta_slow = 1;                       ///< yarn
  bool truncate = true;                                       ///< yarn
  double attention_factor = 0;                                ///< yarn, longrope; 0: the paper's
  std::vector<double> short_factors = {}, long_factors = {};  ///< longrope

  friend bool operator==(const RotarySpec&, const RotarySpec&) = default;
};

struct AttentionSpec {
  int64_t num_heads = 1;
  int64_t num_kv_heads = 1;
  int64_t head_dim = 1;  ///< need not be hidden / num_heads
  bool qkv_bias = false;
  bool output_bias = false;
  std::optional<NormSpec> qk_norm;      ///< RMSNorm of queries and keys, before they are turned
  bool norms_whole_projection = false;  ///< qk_norm is over all heads together, not each head on its own
  RotarySpec rotary;
  double scale = 1;           ///< of the scores
  double soft_cap = 0;        ///< scores s become soft_cap * tanh(s / soft_cap) (arXiv 2408.00118); 0: none
  int64_t window = 0;         ///< a token sees the last `window` tokens, itself included; 0: all before it
  ops::KeyPattern keys = {};  ///< sparse attention: others that it sees

  int64_t query_width() const { return num_heads * head_dim; }
  int64_t kv_width() const { return num_kv_heads * head_dim; }
  int64_t qkv_width() const { return query_width() + 2 * kv_width(); }

  friend bool operator==(const AttentionSpec&, const AttentionSpec&) = default;
};

/// up, activation, down; gated: activation(gate) * up.
struct FeedForwardSpec {
  ActivationKind activation = ActivationKind::gelu;
  int64_t width = 1;
  bool bias = false;

  /// Matrices of hidden x width.
  int64_t num_matrices() const { return is_gated(activation) ? 3 : 2; }
  /// Widths that lie side by side before the activation.
  int64_t num_up() const { return is_gated(activation) ? 2 : 1; }

  friend bool operator==(const FeedForwardSpec&, const FeedForwardSpec&) = default;
};

/// In the place of attention: gates a and b and values x are linear in the input, side by side, [3, width];
/// y_t = b_t * sum over k < kernel of w[k] * (a x)_{t-k}, each channel by itself (w [width, kernel]); then a
/// linear layer back. A token sees those of its own document alone.
struct ConvolutionSpec {
  int64_t width = 1;
  int64_t kernel = 4;
  bool bias = false;

  friend bool operator==(const ConvolutionSpec&, const ConvolutionSpec&) = default;
};

/// A block that is narrow inside (MobileBERT, arXiv 2004.02984, decoder-only): a linear layer from the hidden
/// size to `width`, in which attention and `num_feed_forwards` feed-forward parts, each with its residual
/// path and norm, work; a linear layer back to the hidden size, beside the block's residual path.
struct BottleneckSpec {
  int64_t width = 1;
  int64_t num_feed_forwards = 4;

  friend bool operator==(const BottleneckSpec&, const BottleneckSpec&) = default;
};

/// In the place of a dense feed-forward part.
struct MixtureSpec {
  MoeConfig routing;
  FeedForwardSpec expert;
  std::optional<FeedForwardSpec> shared;  ///< what every token passes through besides

  friend bool operator==(const MixtureSpec&, const MixtureSpec&) = default;
};

struct BlockSpec {
  NormSpec norm;
  NormPlacement norm_placement = NormPlacement::before;
  bool parallel_residual = false;  ///< x + attention(norm(x)) + ffn(norm'(x)); placement `before` alone
  AttentionSpec attention;         ///< of a convolution its window alone: places that it sees
  std::optional<ConvolutionSpec> convolution;  ///< in its place
  std::optional<BottleneckSpec> bottleneck;    ///< around all parts
  FeedForwardSpec feed_forward;                ///< of a dense block
  std::optional<MixtureSpec> mixture;          ///< in its place
  /// Number of an earlier block whose weights it uses, with parameters like its own; that one has its own.
  std::optional<int64_t> weights_of;

  bool norms_before() const { return norm_placement != NormPlacement::after; }  ///< what the parts take
  bool norms_after() const { return norm_placement != NormPlacement::before; }  ///< what the parts make
  /// Whether they are equal but for whose weights they use.
  bool is_like(const BlockSpec& other) const;
  friend bool operator==(const BlockSpec&, const BlockSpec&) = default;
};

struct EmbeddingSpec {
  int64_t num_positions = 0;  ///< rows of the learned position table; 0: there is none
  double scale = 1;           ///< of the rows of the token table

  friend bool operator==(const EmbeddingSpec&, const EmbeddingSpec&) = default;
};

struct HeadSpec {
  NormSpec norm;
  bool tied = true;     ///< reads the token table
  double soft_cap = 0;  ///< of the logits; 0: none

  friend bool operator==(const HeadSpec&, const HeadSpec&) = default;
};

/// A decoder-only Transformer.
struct ModelSpec {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  EmbeddingSpec embedding;
  std::vector<BlockSpec> blocks;
  HeadSpec head;
  double init_std = 0.02;           ///< of matrices
  double residual_init_std = 0.02;  ///< of those that project back into the residual stream
  QuantizationConfig quantization;  ///< its learned scales are parameters

  int64_t num_blocks() const { return static_cast<int64_t>(blocks.size()); }
  /// The block whose weights block `index` uses: itself, or an earlier one.
  int64_t weights_of(int64_t index) const {
    return blocks[static_cast<size_t>(index)].weights_of.value_or(index);
  }

  friend bool operator==(const ModelSpec&, const ModelSpec&) = default;
};

/// The model that a config (without errors) stands for.
ModelSpec spec_of(const ModelConfig& config);

}  // namespace trireme
