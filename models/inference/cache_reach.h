// CacheReach: which blocks of a text's cache later tokens may look at, over all layers of a model.
#pragma once

#include <cstdint>
#include <vector>

#include "models/spec/model_spec.h"
#include "parallel/context_parallel/key_limits.h"

namespace trireme {

/// The same on all ranks: a block has the same number on every layer and stage. Where each layer's tokens see
/// a bounded number of keys, most blocks of a long text are soon seen by nobody; one layer with full
/// attention, or with all strides or summaries, keeps all.
class CacheReach {
 public:
  /// Keeps all blocks.
  explicit CacheReach(int64_t block_tokens) : block_tokens_(block_tokens), is_bounded_(false) {}
  CacheReach(const ModelSpec& spec, int64_t block_tokens);
  CacheReach(std::vector<KeyLimits> layers, int64_t block_tokens);

  bool is_bounded() const { return is_bounded_; }
  /// Whether block `index` of a text may be given back once tokens before `next` are computed: it holds what
  /// no token from `next` on sees, and is not the last full one, of which the next one is remembered as the
  /// continuation (CacheBlockPool::remember()).
  bool is_over(int64_t index, int64_t next) const;
  /// The most blocks that are kept at any time while a text of so many tokens is computed in whole blocks.
  int64_t most_kept(int64_t num_tokens);
  /// With them those of `at_once` tokens, at least 1, that are being computed.
  int64_t most_used(int64_t num_tokens, int64_t at_once);
  /// The longest text, of at most `num_tokens`, for which so many blocks are enough.
  int64_t longest(int64_t num_blocks, int64_t num_tokens);

 private:
  int64_t blocks_of(int64_t num_tokens) const { return (num_tokens + block_tokens_ - 1) / block_tokens_; }

  int64_t block_tokens_;
  bool is_bounded_ = true;
  std::vector<KeyLimits> layers_;  // each kind once
  // After so many blocks: those kept, and the most so far. As far as somebody has asked.
  std::vector<int64_t> kept_, most_{0};
};

}  // namespace trireme
