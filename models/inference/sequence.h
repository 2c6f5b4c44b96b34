// Sequence: the tokens of a request as a Scheduler sees them.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace trireme {

inline constexpr int32_t kNoBlock = -1;

/// The tokens of a request so far, and where their keys and values lie.
struct Sequence {
  int64_t number = 0;           ///< of the request: of equal priority earlier ones go first
  int64_t priority = 0;         ///< smaller ones go first
  std::vector<int32_t> tokens;  ///< prompt and text
  std::vector<int32_t> drafts;  ///< guesses of what follows, for the next pass; no more than still fit
  /// Logits of places [scores_begin, scores_end) are asked for, beside those of the last one.
  int64_t scores_begin = 0, scores_end = 0;
  int64_t computed = 0;         ///< tokens whose keys and values are in the blocks
  std::vector<int32_t> blocks;  ///< kNoBlock: given back, for no later token of it sees what was in it
  int64_t num_given_back = 0;   ///< of these
  int64_t num_promised = 0;     ///< blocks that are kept free for its prompt
  int64_t most_blocks = 0;      ///< that it has at once while its prompt is computed
  int64_t num_remembered = 0;   ///< blocks that later prompts find
  /// Of so many tokens, the first, blocks hold what they would hold of any sequence.
  int64_t num_shared = std::numeric_limits<int64_t>::max();
  bool has_run = false;
  int64_t order = 0;  ///< priority and arrival as one number, by Scheduler::add()

  int64_t num_held() const { return static_cast<int64_t>(blocks.size()) - num_given_back; }
  int64_t num_tokens() const { return static_cast<int64_t>(tokens.size()); }
  /// Whether its last token alone is to be computed: what follows it is drawn.
  bool is_decoding() const { return computed == num_tokens() - 1; }
  bool has_scores() const { return scores_begin < scores_end; }
  /// Tokens that may be found in the cache: not those whose logits are needed.
  int64_t num_reusable() const { return has_scores() ? scores_begin : num_tokens() - 1; }
};

/// The order in which sequences are served.
inline bool precedes(const Sequence* a, const Sequence* b) {
  if (a->order != b->order) return a->order < b->order;
  return a->priority != b->priority ? a->priority < b->priority : a->number < b->number;
}

}  // namespace trireme
