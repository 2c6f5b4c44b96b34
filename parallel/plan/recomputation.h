// Activation recomputation: which activations are recomputed in the backward pass instead of kept.
#pragma once

#include <cstdint>

namespace trireme {

/// none: all activations are kept. selective: core attention (scores, softmax, product with the values) is
/// recomputed (Korthikanti et al., arXiv 2205.05198, section 5). full: whole blocks are recomputed from their
/// inputs (Chen et al., arXiv 1604.06174). Results have the same bits in every mode.
enum class RecomputeMode : uint8_t { none, selective, full };

struct Recomputation {
  RecomputeMode mode = RecomputeMode::none;
  int64_t every = 1;  ///< full: blocks 0, every, 2 * every, ... of the whole model are recomputed

  bool of_attention() const { return mode == RecomputeMode::selective; }
  /// Whether block `index` of the model is recomputed as a whole.
  bool of_block(int64_t index) const { return mode == RecomputeMode::full && index % every == 0; }
  /// How many of the blocks [0, num_blocks) are.
  int64_t num_whole_blocks(int64_t num_blocks) const {
    return mode == RecomputeMode::full ? (num_blocks + every - 1) / every : 0;
  }

  friend bool operator==(const Recomputation&, const Recomputation&) = default;
};

}  // namespace trireme
