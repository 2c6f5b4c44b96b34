// Parts of config.json that several architectures have.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/formats/hf/architecture.h"

namespace trireme::hf {

using Parts = std::vector<HfPart>;
Parts together(std::initializer_list<Parts> lists);

// One key for one field. `absent` is what transformers takes where the key is not there.
HfPart whole(std::string key, int64_t ModelConfig::*field, int64_t absent);
/// 0 is stored as null.
HfPart whole_or_null(std::string key, int64_t ModelConfig::*field, int64_t absent);
HfPart real(std::string key, double ModelConfig::*field, double absent);
/// 0 is stored as null.
HfPart real_or_null(std::string key, double ModelConfig::*field, double absent);
HfPart flag(std::string key, bool ModelConfig::*field, bool absent);

/// A key with one value that works: `works`, which is also what it is where absent, unless `absent` says
/// otherwise. `why`: what would work.
HfPart only(std::string key, Json works, std::string why, std::optional<Json> absent = std::nullopt);
/// Fractions that are dropped in training. Nothing is dropped here, which changes no result of evaluation.
HfPart dropout(std::vector<std::string> keys);

struct Sizes {
  int64_t vocab, hidden, ffn, layers, heads, kv_heads, positions;  ///< kv_heads 0: as many as heads
};
/// vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads,
/// max_position_embeddings, initializer_range.
Parts sizes(const Sizes& absent);

/// `absent` 0: hidden_size / num_attention_heads.
HfPart head_dim(int64_t absent);
/// Of a network with a gate (silu, gelu_pytorch_tanh) or without (gelu_new, gelu). `written`: for each kind
/// the name to write.
HfPart activation(std::string key, bool gated, std::string absent);
/// attention_bias (`absent` where it is not there) and, where there is one, mlp_bias.
HfPart biases(bool absent, bool has_mlp_bias);

struct Rope {
  std::string theta_key = "rope_theta";
  double theta = 10000;           ///< where absent
  std::string partial_key = {};   ///< empty: whole heads are turned
  double partial = 1;             ///< where absent
  std::string local_key = {};     ///< theta of blocks with a window; empty: as others
  double local_theta = 0;         ///< where absent
  bool yarn_is_longrope = false;  ///< Phi-3's first files spell it so
};
/// rope_theta and rope_scaling, or rope_parameters.
HfPart rope(const Rope& rope);

/// Which blocks have a window: sliding_window in those that layer_types has as sliding_attention.
struct Windows {
  int64_t absent = 4096;            ///< sliding_window; 0: null
  bool has_types = true;            ///< layer_types; without, all blocks are alike
  bool has_switch = false;          ///< use_sliding_window, off where absent
  int64_t from = 0;                 ///< max_window_layers where absent; 0: there is no such key
  int64_t pattern = 0;              ///< without layer_types every so many-th block has none
  std::string pattern_key = {};     ///< where that is a key
  bool are_without_rotary = false;  ///< without layer_types blocks with a window are those without RoPE
};
HfPart windows(const Windows& windows);

/// no_rope_layers (0: without RoPE), or no_rope_layer_interval.
HfPart no_rope_layers();

/// Which blocks are mixtures: decoder_sparse_step and mlp_only_layers.
HfPart sparse_blocks();

}  // namespace trireme::hf
