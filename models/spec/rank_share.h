// RankShare: a rank's place in the groups that shard the layers of a model.
#pragma once

#include "parallel/module/parameter.h"

namespace trireme {

/// A rank of a group that divides something.
struct GroupShare {
  int rank = 0, size = 1;

  /// Which of n things it holds: neighbours in the order of the ranks, sizes that differ by one at most.
  Part part(int64_t n) const { return {n * rank / size, n * (rank + 1) / size}; }
};

/// As it is: one rank that holds everything.
struct RankShare {
  GroupShare tensor;
  bool sequence = false;     ///< outside of parallel layers a tensor-parallel rank sees its own rows alone
  GroupShare experts;        ///< ranks with different experts; their number is a multiple of these
  GroupShare expert_tensor;  ///< ranks that shard the width of the same experts
};

}  // namespace trireme
