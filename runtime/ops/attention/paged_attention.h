// Attention to keys and values that lie in blocks of a cache (PagedAttention, Kwon et al., arXiv 2309.06180),
// for inference.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/ops/attention/key_pattern.h"
#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// How a cache stores numbers.
enum class CacheType : uint8_t {
  plain,  ///< in a compute type
  int8,   ///< 8 bits, with an f32 scale for each token of each head (largest magnitude / 127)
};

/// Blocks of one layer's keys and values: `block_tokens` tokens of all heads of this rank each. The layout
/// within a block is the device's.
struct KeyValueBlocks {
  Tensor keys, values;              ///< [num_blocks, num_kv_heads, block_tokens * head_dim]; u8 for int8
  Tensor key_scales, value_scales;  ///< f32 [num_blocks, num_kv_heads, block_tokens]; absent when plain
  int64_t block_tokens = 0;
  int64_t head_dim = 0;

  int64_t num_blocks() const { return keys.dim(0); }
  int64_t num_kv_heads() const { return keys.dim(1); }
};

/// Uninitialised blocks; `dtype` is a compute type, of queries too. block_tokens: a multiple of 16.
KeyValueBlocks make_key_value_blocks(Context& ctx, int64_t num_blocks, int64_t num_kv_heads, int64_t head_dim,
                                     int64_t block_tokens, DType dtype, CacheType type);
/// Bytes of one such block, keys and values.
int64_t key_value_block_bytes(int64_t num_kv_heads, int64_t head_dim, int64_t block_tokens, DType dtype,
                              CacheType type);

/// A flat batch: rows of sequence 0, then of sequence 1 and so on, each at consecutive places.
struct PagedRows {
  /// i32 [sequences, any width]: number of the block of places [i * block_tokens, ...); -1: none, for no row
  /// sees one of these places.
  Tensor block_tables;
  Tensor sequences;              ///< i32 [rows]
  Tensor places;                 ///< i32 [rows]: tokens of its sequence before it
  std::vector<int32_t> starts;   ///< on the host, [sequences + 1]: first row of each, and their number
  std::vector<int32_t> lengths;  ///< on the host, [sequences]: tokens up to and with the last row
  int64_t num_rows() const { return starts.empty() ? 0 : starts.back(); }
  int64_t num_sequences() const { return static_cast<int64_t>(lengths.size()); }
};

struct PagedShape {
  int64_t num_heads = 1;
  int64_t num_kv_heads = 1;
  int64_t head_dim = 1;
  float scale = 1.0f;
  int64_t window = 0;  ///< as in AttentionShape
  float soft_cap = 0;
  KeyPattern pattern = {};  ///< as in AttentionShape
};

/// Writes k and v (num_kv_heads * head_dim columns of the rows) at the rows' places into the blocks.
void store_keys_values(Context& ctx, const PagedRows& rows, const Columns& k, const Columns& v,
                       const KeyValueBlocks& blocks);
TRIREME_OP_BODIES(store_keys_values, Context& ctx, const PagedRows& rows, const Columns& k, const Columns& v,
                  const KeyValueBlocks& blocks)

/// out[rows, H*D] = softmax(scale * q k^T) v over the keys of the row's own sequence at places up to its own,
/// within the window. The keys of all rows are in the blocks already. The bits of a row depend on its query
/// and the keys it sees alone; on the CPU, in a plain cache, they are those of ops::attention, causal, over
/// the whole sequence.
void paged_attention(Context& ctx, const PagedShape& shape, const PagedRows& rows, const Columns& q,
                     const KeyValueBlocks& blocks, const Tensor& out);
TRIREME_OP_BODIES(paged_attention, Context& ctx, const PagedShape& shape, const PagedRows& rows,
                  const Columns& q, const KeyValueBlocks& blocks, const Tensor& out)

/// Copies whole blocks within the cache: from[i] to to[i], all distinct.
void copy_blocks(Context& ctx, const KeyValueBlocks& blocks, const std::vector<int32_t>& from,
                 const std::vector<int32_t>& to);
TRIREME_OP_BODIES(copy_blocks, Context& ctx, const KeyValueBlocks& blocks, const std::vector<int32_t>& from,
                  const std::vector<int32_t>& to)

}  // namespace trireme::ops
