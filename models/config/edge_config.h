// Blocks of models for small devices: which are convolutions, and how narrow they are inside.
#pragma once

#include <cstdint>

namespace trireme {

/// kernel 0: no block is a convolution. Else from `first_block` on every n-th has a gated depthwise causal
/// convolution in the place of attention (ConvolutionSpec).
struct ConvolutionConfig {
  static constexpr int64_t kMostTokens = 16;

  int64_t kernel = 0;
  int64_t every = 2;
  int64_t first_block = 0;

  bool is_in(int64_t index) const {
    return kernel > 0 && index >= first_block && (index - first_block) % every == 0;
  }
  friend bool operator==(const ConvolutionConfig&, const ConvolutionConfig&) = default;
};

/// width 0: blocks are as wide inside as outside (BottleneckSpec).
struct BottleneckConfig {
  int64_t width = 0;
  int64_t num_feed_forwards = 4;

  friend bool operator==(const BottleneckConfig&, const BottleneckConfig&) = default;
};

}  // namespace trireme
