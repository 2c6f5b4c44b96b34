// Memory that generation takes beside the weights, from a model's description alone. Of one rank, on the CPU.
#pragma once

#include <cstdint>

#include "models/spec/model_spec.h"
#include "runtime/ops/attention/paged_attention.h"

namespace trireme {

/// The largest passes of a generation.
struct PassSizes {
  int64_t rows = 1;       ///< tokens of a pass
  int64_t sequences = 1;  ///< rows that logits are asked for
  int64_t length = 1;     ///< tokens of the longest sequence
  int threads = 1;
};

/// Bytes that such passes take from the allocator at one time at most: rows between the layers, scratch of
/// attention, logits; and what drawing a token takes.
int64_t pass_bytes(const ModelSpec& model, DType compute_type, const PassSizes& sizes);

/// Bytes of a block of the cache, all layers (CachedModel::block_bytes()).
int64_t cache_block_bytes(const ModelSpec& model, int64_t block_tokens, DType compute_type,
                          ops::CacheType type);

}  // namespace trireme
