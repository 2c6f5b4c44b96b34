// Token sequences through a cached model in batches, for their logits. Plans are pure functions, equal on all
// ranks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/inference/cached_model.h"

namespace trireme::launch {

/// A sequence whose tokens are all known.
struct KnownSequence {
  std::vector<int32_t> tokens;
  int64_t first_logit = 0;  ///< logits are asked for after this token and all behind it
  /// An earlier sequence that begins alike, whose blocks of the cache hold for this one too; -1: none.
  int64_t begins_as = -1;

  int64_t num_logits() const { return static_cast<int64_t>(tokens.size()) - first_logit; }
};

struct PassLimits {
  int64_t max_tokens = 512;  ///< of a pass
  CacheOptions cache = {};
};
/// Limits for sequences of up to `max_seq_len` tokens: `max_tokens` at once, or as many as have logits that
/// do not take much, and a cache for a few passes of short sequences.
PassLimits pass_limits(int64_t max_seq_len, int64_t vocab_size, int64_t max_tokens, ops::CacheType type);

/// Tokens [start, start + count) of a sequence, of which the last num_logits get logits.
struct PassChunk {
  int64_t sequence = 0;
  int64_t start = 0;
  int64_t count = 0;
  int64_t num_logits = 0;
  std::vector<int32_t> blocks;  ///< of the places up to its end
};

/// One forward pass. Logits come in the order of the chunks.
struct LogitPass {
  std::vector<PassChunk> chunks;
  int64_t num_logits() const;
};

/// Passes in which each sequence goes through once, in order, but for whole blocks that it begins with as
/// another of those in the cache. Every sequence fits the cache (CHECK).
std::vector<LogitPass> plan_passes(std::span<const KnownSequence> sequences, const PassLimits& limits);

/// [n, V] f32, CachedModel::logits() of a pass; every rank of the model calls it.
Tensor logits_of(Context& ctx, CachedModel& model, const LogitPass& pass,
                 std::span<const KnownSequence> sequences);

}  // namespace trireme::launch
