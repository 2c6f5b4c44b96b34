// Sequence: the tokens of a request as a Scheduler sees them.
#pragma once

#include <cstdint>
#include <vector>

namespace trireme {

/// The tokens of a request so far, and where their keys and values lie.
struct Sequence {
  int64_t number = 0;           ///< of the request: of equal priority earlier ones go first
  int64_t priority = 0;         ///< smaller ones go first
  std::vector<int32_t> tokens;  ///< prompt and text
  std::vector<int32_t> drafts;  ///< guesses of what follows, for the next pass; no more than still fit
  /// Logits of places [scores_begin, scores_end) are asked for, beside those of the last one.
  int64_t scores_begin = 0, scores_end = 0;
  int64_t computed = 0;  ///< tokens whose keys and values are in the blocks
  std::vector<int32_t> blocks;
  int64_t num_remembered = 0;  ///< blocks that later prompts find
  bool has_run = false;
  int64_t order = 0;  ///< priority and arrival as one number, by Scheduler::add()

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
