// Scratch memory that ops of the CPU take for themselves, as functions of sizes: the bodies take it by these,
// and predictions of memory read them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/ops/attention/key_pattern.h"

namespace trireme::ops {

/// Queries of attention that are looked at together. Larger blocks waste more above the causal diagonal,
/// smaller ones make products too small for their overhead.
inline constexpr int64_t kAttentionBlock = 64;

/// Floats from one row of scores to the next: whole vectors, and no power of two, whose rows would compete
/// for the same cache sets.
inline int64_t score_stride(int64_t kv_len) { return (kv_len + 15) / 16 * 16 + 16; }

/// Pieces of a thread's scratch begin at multiples of this many floats.
inline int64_t scratch_piece(int64_t floats) { return (floats + 15) / 16 * 16; }

/// Tokens that attention on the CPU takes together; they begin at multiples of it.
inline constexpr int64_t kTokenGroup = 16;

/// Which of kv_len keys queries see: all before them, a window's, or a pattern's.
struct KeyLimits {
  int64_t kv_len = 0, window = 0;
  KeyPattern pattern = {};

  bool has_any() const { return window > 0 || pattern; }
  /// The most keys that `queries` queries which follow each other see; under a pattern in whole groups.
  int64_t seen_by(int64_t queries) const {
    if (pattern) return most_groups_seen(pattern, window, queries, kv_len, kTokenGroup) * kTokenGroup;
    return window > 0 ? std::min(kv_len, window + queries - 1) : kv_len;
  }
};

/// Blocks of queries that a task of attention's forward pass has, of `kv_heads` heads of all sequences: few
/// enough for tasks to keep all threads busy, and under limits no more than a query sees keys, lest most of
/// the keys that a task holds are out of sight.
inline int64_t attention_task_blocks(int64_t q_len, const KeyLimits& keys, int64_t kv_heads,
                                     int64_t threads) {
  const int64_t blocks = (q_len + kAttentionBlock - 1) / kAttentionBlock;
  const int64_t tasks_of_head = (8 * threads + kv_heads - 1) / std::max<int64_t>(1, kv_heads);
  const int64_t seen = keys.pattern ? keys.seen_by(1) : keys.window;
  const int64_t most = seen > 0 ? (seen + kAttentionBlock - 1) / kAttentionBlock : blocks;
  return std::clamp<int64_t>(blocks / std::max<int64_t>(1, tasks_of_head), 1, std::max<int64_t>(1, most));
}

/// Floats of `queries` queries of one head with their scores and outputs, which see keys within a range of
/// `keys` places.
inline int64_t attention_tile_floats(int64_t queries, int64_t keys, int64_t head_dim) {
  return scratch_piece(queries * score_stride(keys + kTokenGroup)) + scratch_piece(queries * head_dim) +
         queries * scratch_piece(head_dim);
}

/// Floats that a thread needs for attention's forward pass: such a tile, and the keys and values that the
/// `blocks` of queries of a task see, in whole groups.
inline int64_t attention_forward_floats(const KeyLimits& keys, int64_t head_dim, int64_t blocks,
                                        bool widens) {
  const int64_t most = (keys.seen_by(blocks * kAttentionBlock) / kTokenGroup + 2) * kTokenGroup;
  return attention_tile_floats(kAttentionBlock, keys.seen_by(kAttentionBlock), head_dim) +
         scratch_piece(most * head_dim) + most * scratch_piece(head_dim) +
         (widens ? kTokenGroup * head_dim : 0);
}

/// Floats that a thread needs for attention's backward pass: scores and their gradients of a block of
/// queries, of a half type (`widens`) queries, outputs, keys and values of a head with their gradients, and
/// under a pattern those keys and values with their gradients that a block sees.
inline int64_t attention_backward_floats(const KeyLimits& keys, int64_t head_dim, bool widens) {
  const int64_t width = widens ? head_dim : 0, seen = keys.seen_by(kAttentionBlock);
  return 2 * scratch_piece(kAttentionBlock * score_stride(seen)) +
         4 * scratch_piece(kAttentionBlock * width) + 4 * scratch_piece(keys.kv_len * width) +
         (keys.pattern ? 4 * scratch_piece(seen * head_dim) : 0);
}

/// Rows whose gradients of a norm's gain and bias are summed one after the other; the blocks' sums are then
/// added in order. It depends on the number of rows alone, and there are at most 256 blocks.
inline int64_t norm_rows_per_block(int64_t rows) { return std::max<int64_t>(32, (rows + 255) / 256); }

}  // namespace trireme::ops
