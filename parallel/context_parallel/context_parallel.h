// ContextParallel: which tokens of a sequence a context rank holds, and which it sees of the others'.
#pragma once

#include <array>

#include "parallel/module/parameter.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

/// Queries of one rank and keys of another, as ranges of the tokens that each holds of a sequence, of which
/// every query sees every key.
struct SeenKeys {
  Part queries, keys;
};

/// Rank r of n holds two of the 2n equal chunks of every sequence, r and 2n - 1 - r ("zig-zag"), in the order
/// of their positions. So early tokens, which see few keys, go with late ones, and all ranks do equal work.
struct ContextShare {
  int rank = 0;
  int size = 1;

  /// The tokens of both chunks; seq_len is a multiple of 2 * size. Alone, a rank holds any length.
  std::array<Part, 2> tokens(int64_t seq_len) const;
  /// What this rank's queries see of the keys of rank `owner`, another one, where each holds `held` tokens of
  /// a sequence: all queries the early chunk of a rank before, the late queries all keys of a rank behind.
  /// Everything else is masked, so it is always half of the block.
  SeenKeys seen_of(int owner, int64_t held) const;
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
