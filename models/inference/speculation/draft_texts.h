// DraftTexts: the texts that a draft model knows, and the blocks of its cache that hold them.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "models/inference/block_pool.h"

namespace trireme {

/// Tokens as the draft model has computed them.
struct DraftState {
  std::vector<int32_t> tokens;  ///< whose keys and values are in the blocks; the last ones may be drafts
  std::vector<int32_t> blocks;
  int64_t num_remembered = 0;  ///< blocks that texts with the same beginning find
  int64_t last_used = 0;       ///< number of the proposal
};

class DraftTexts {
 public:
  DraftTexts(int64_t num_blocks, int64_t block_tokens) : pool_(num_blocks, block_tokens) {}

  /// A new proposal begins.
  void begin() { ++now_; }
  /// The text as far as it is computed and is `tokens`: what was computed beyond the first place that differs
  /// counts no more, and its last token is still to be computed. With blocks for `length` tokens; null where
  /// there are none, and the text holds none then. Texts that are not in this proposal give theirs first.
  DraftState* at(int64_t request, std::span<const int32_t> tokens, int64_t length);
  /// The first `num_tokens` of the state are of the text itself: others may share their full blocks.
  void remember(DraftState& state, int64_t num_tokens);
  void forget(int64_t request);

  int64_t num_available() const { return pool_.num_available(); }

 private:
  bool reserve(DraftState& state, int64_t length);
  bool make_room();
  void give_back(DraftState& state);

  CacheBlockPool pool_;
  int64_t now_ = 0;
  std::unordered_map<int64_t, DraftState> states_;  // by request
};

}  // namespace trireme
