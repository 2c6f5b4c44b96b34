// Activations of a rank: what layers keep for the backward pass, and what is alive beside it.
#pragma once

#include "models/config/memory_estimate.h"

namespace trireme {

/// Bytes, as the allocator rounds tensors.
struct ActivationMemory {
  int64_t kept_block = 0;         ///< by one block that is not recomputed as a whole, for one micro-batch
  int64_t more_with_experts = 0;  ///< what such a block keeps beyond a dense one; may be negative
  int64_t kept_whole_block = 0;   ///< by one that is: its input
  int64_t block_at_work = 0;      ///< the most in a block's own backward pass, with all that it keeps
  int64_t head_at_work = 0;       ///< the most in the head's passes, logits and their gradient included

  explicit ActivationMemory(const MemoryInputs& inputs);

  /// The peak of a rank that has all layers and one micro-batch in flight: the larger of all blocks' kept
  /// tensors beside the head at work, and of those of all but one beside the last block at work. (A pipeline
  /// stage has some of the blocks and several micro-batches of them.)
  int64_t peak(const MemoryInputs& inputs) const;
};

}  // namespace trireme
