#include "models/inference/memory_forecast.h"

#include <algorithm>

#include "models/spec/describe_products.h"
#include "runtime/ops/scratch_sizes.h"

namespace trireme {

namespace {

/// Of a row in a block: what its products take and make, and the stream twice; as fp32 numbers, which is more
/// than they are in bf16 with their copies in 8 bits.
int64_t pass_row_bytes(const ModelSpec& model, const BlockSpec& block) {
  int64_t numbers = 4 * model.hidden_size;
  for (const Product& product : describe_products(model, block).products)
    numbers += product.rows * (product.in + product.out);
  return 4 * numbers;
}

/// Of all threads; where few tasks are divided among them (paged_attention()), of all tasks.
int64_t pass_attention_bytes(const AttentionSpec& attention, const PassSizes& sizes) {
  const ops::KeyLimits limits{sizes.length, attention.window, attention.keys};
  const int64_t keys = limits.seen_by(ops::kAttentionBlock);
  const int64_t group = attention.num_heads / std::max<int64_t>(1, attention.num_kv_heads);
  const int64_t tiles =
      ((sizes.rows * group + ops::kAttentionBlock - 1) / ops::kAttentionBlock + sizes.sequences) *
      attention.num_kv_heads;
  const int64_t at_once = sizes.threads == 1 ? 1 : std::min<int64_t>(tiles, int64_t{4} * sizes.threads);
  const int64_t queries = std::min(ops::kAttentionBlock, sizes.rows * group * attention.num_kv_heads);
  // Of fewer queries several heads go together.
  const int64_t tile = std::max(ops::attention_tile_floats(queries, keys, attention.head_dim),
                                queries * ops::attention_tile_floats(1, keys, attention.head_dim));
  return 4 * at_once * tile;
}

}  // namespace

int64_t pass_bytes(const ModelSpec& model, DType compute_type, const PassSizes& sizes) {
  int64_t most = 0;
  for (const BlockSpec& block : model.blocks)
    most = std::max(most,
                    sizes.rows * pass_row_bytes(model, block) + pass_attention_bytes(block.attention, sizes));
  const int64_t copies = compute_type == DType::f32 ? 1 : 2;
  const int64_t logits = sizes.sequences * 4 * (copies * model.vocab_size + 2 * model.hidden_size) +
                         sizes.rows * 8 * model.hidden_size;
  // Penalties and filters look at a copy of a row, with the numbers of its tokens.
  constexpr int64_t kDrawing = 12;
  const int64_t drawing = kDrawing * model.vocab_size * std::min<int64_t>(sizes.threads, sizes.sequences);
  return std::max(most, logits) + drawing;
}

int64_t cache_block_bytes(const ModelSpec& model, int64_t block_tokens, DType compute_type,
                          ops::CacheType type) {
  int64_t bytes = 0;
  for (const BlockSpec& block : model.blocks) {
    if (block.convolution) {  // its inputs, in the compute type whatever the type of keys
      bytes += block_tokens * block.convolution->width * static_cast<int64_t>(size_of(compute_type));
      continue;
    }
    bytes += ops::key_value_block_bytes(block.attention.num_kv_heads, block.attention.head_dim, block_tokens,
                                        compute_type, type);
  }
  return bytes;
}

}  // namespace trireme
