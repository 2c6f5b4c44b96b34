// Scratch memory that ops of the CPU take for themselves, as functions of sizes: the bodies take it by these,
// and predictions of memory read them.
#pragma once

#include <algorithm>
#include <cstdint>

namespace trireme::ops {

/// Queries of attention that are looked at together. Larger blocks waste more above the causal diagonal,
/// smaller ones make products too small for their overhead.
inline constexpr int64_t kAttentionBlock = 64;

/// Floats from one row of scores to the next: whole vectors, and no power of two, whose rows would compete
/// for the same cache sets.
inline int64_t score_stride(int64_t kv_len) { return (kv_len + 15) / 16 * 16 + 16; }

/// Pieces of a thread's scratch begin at multiples of this many floats.
inline int64_t scratch_piece(int64_t floats) { return (floats + 15) / 16 * 16; }

/// The most keys that such a block of queries sees, with a window or without (0).
inline int64_t attention_keys(int64_t kv_len, int64_t window) {
  return window > 0 ? std::min(kv_len, window + kAttentionBlock - 1) : kv_len;
}

/// Floats that a thread needs for attention's backward pass: scores and their gradients of a block of
/// queries, and of a half type (`widens`) queries, outputs, keys and values of a head with their gradients.
inline int64_t attention_backward_floats(int64_t kv_len, int64_t window, int64_t head_dim, bool widens) {
  const int64_t width = widens ? head_dim : 0;
  return 2 * scratch_piece(kAttentionBlock * score_stride(attention_keys(kv_len, window))) +
         4 * scratch_piece(kAttentionBlock * width) + 4 * scratch_piece(kv_len * width);
}

/// Rows whose gradients of a norm's gain and bias are summed one after the other; the blocks' sums are then
/// added in order. It depends on the number of rows alone, and there are at most 256 blocks.
inline int64_t norm_rows_per_block(int64_t rows) { return std::max<int64_t>(32, (rows + 255) / 256); }

}  // namespace trireme::ops
