// Activations of a rank: what layers keep for the backward pass, and what is alive beside it.
#pragma once

#include "models/cost/memory_estimate.h"

namespace trireme {

/// Bytes, as the allocator rounds tensors.
struct ActivationMemory {
  int64_t kept_block = 0;         ///< by one block that is not recomputed as a whole, for one micro-batch
  int64_t more_with_experts = 0;  ///< what such a block keeps beyond a dense one; may be negative
  int64_t kept_whole_block = 0;   ///< by one that is: its input
  int64_t block_at_work = 0;      ///< the most in a block's own backward pass, with all that it keeps
  int64_t kept_head = 0;          ///< by the head for one micro-batch
  int64_t boundary = 0;           ///< what goes from stage to stage
  int64_t head_at_work = 0;       ///< the most in the head's passes, logits and their gradient included

  explicit ActivationMemory(const MemoryInputs& inputs);

  /// The peak of a rank: the larger of what all its blocks keep beside the head at work, and of what all but
  /// one keep beside that one at work. A pipeline stage keeps its blocks' tensors once for each micro-batch
  /// in flight (a chunk's share of them where it has several), the last one those of the head too, and has an
  /// activation and a gradient on the way.
  int64_t peak(const MemoryInputs& inputs) const;
};

}  // namespace trireme
