// The matrix products and attention of a layer: everything that counts as FLOPs of a model.
#pragma once

#include <vector>

#include "models/spec/model_spec.h"

namespace trireme {

/// y = x W^T with W [out, in].
struct Product {
  const char* of = "";  ///< whose: "attention.qkv", "ffn.experts.up"
  int64_t out = 0, in = 0;
  int64_t rows = 1;  ///< of x, for each token: the experts that it passes through

  /// Weights that a token is multiplied with.
  int64_t weights() const { return out * in * rows; }
};

struct LayerProducts {
  std::vector<Product> products;
  int64_t query_width = 0;  ///< of causal attention; 0: there is none
  int64_t window = 0;       ///< keys that a query sees at the most; 0: all before it
  ops::KeyPattern keys;     ///< those beside

  int64_t weights() const;
  /// Operations of one token of a sequence of `seq_len`, forward, a multiply-add counted as two. Scores and
  /// their product with the values: 2 * query_width each for every key that a token sees, and of these there
  /// are seq_len / 2 in the mean, less under a window, and as many as a pattern has under one.
  double flops_of_attention(int64_t seq_len) const;
  double flops(int64_t seq_len) const;
};

LayerProducts describe_products(const ModelSpec& spec, const BlockSpec& block);
LayerProducts describe_head_products(const ModelSpec& spec);

}  // namespace trireme
