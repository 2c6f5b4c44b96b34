// ContextParallel: which tokens of a sequence a context-parallel rank holds, and which it sees of the
// others'.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "parallel/context_parallel/key_limits.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

/// Queries of one rank and keys of another, as ranges of the tokens that each holds of a sequence.
struct SeenKeys {
  Part queries, keys;
  int64_t shift = 0;        ///< by how many places the last query lies after the last key; of seen_within
  int64_t first_place = 0;  ///< of the first key, in the sequence; of seen_within
};

/// Rank r of n holds two of the 2n equal chunks of every sequence, r and 2n - 1 - r ("zig-zag"), in the order
/// of their positions. So early tokens, which see few keys, go with late ones, and all ranks do equal work.
struct ContextShare {
  int rank = 0;
  int size = 1;

  /// The tokens of both chunks; seq_len is a multiple of 2 * size. Alone, a rank holds any length.
  std::array<Part, 2> tokens(int64_t seq_len) const;
  /// What this rank's queries see of the keys of rank `owner`, another one, where each holds `held` tokens of
  /// a sequence: all queries the early chunk of a rank before, the late queries all keys of a rank behind,
  /// every query every key of it. Everything else is masked, so it is always half of the block.
  SeenKeys seen_of(int owner, int64_t held) const;
  /// The same where a query sees only what `limits` say, and none before its first key: chunk_first_keys has
  /// that of the first query of each chunk of the sequence, which those after it do not fall below; empty: 0
  /// for all. `owner` may be this rank. Gives pairs of some queries of a chunk and keys at consecutive places
  /// of a chunk of the owner; keys that no query of a pair of chunks may see are in none, but for those of
  /// this rank, of which a pair has all from the first one that is seen to the last. Which sees which within
  /// a pair is for a mask with these limits, the first keys, the pair's shift and its first place to say.
  std::vector<SeenKeys> seen_within(const KeyLimits& limits, int owner, int64_t held,
                                    std::span<const int32_t> chunk_first_keys = {}) const;
};

/// A small value that layers keep.
class ContextParallel {
 public:
  /// `group` outlives all copies.
  explicit ContextParallel(Communicator& group) : group_(&group) {}
  explicit ContextParallel(const ParallelContext& parallel) : ContextParallel(parallel.context()) {}

  Communicator& group() const { return *group_; }
  ContextShare share() const { return {group_->rank(), group_->size()}; }

 private:
  Communicator* group_;
};

}  // namespace trireme
