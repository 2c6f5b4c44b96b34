// ReplicaGroups: the ranks that replicate the same parameters, and shard their state.
#pragma once

#include <cstdint>
#include <memory>

#include "runtime/comm/communicator.h"

namespace trireme {

/// Parameters that different ranks hold copies of: those of experts, and all others.
enum class ParameterKind : uint8_t { dense, expert };

/// The ranks of one pipeline stage that hold the same parameters; of copies on other stages HolderGroups says
/// more. Gradients are summed over all(). ZeRO shards state among the neighbours of shard(); replicate() are
/// the ranks that hold the same shard in each such group.
class ReplicaGroups {
 public:
  /// `all` outlives this; its ranks make one together, with the same `num_shards`, which divides their
  /// number.
  ReplicaGroups(Communicator& all, int num_shards);

  Communicator& all() const { return *all_; }
  Communicator& shard() const { return shard_ ? *shard_ : *all_; }
  Communicator& replicate() const { return *replicate_; }

 private:
  Communicator* all_;
  std::unique_ptr<Communicator> shard_;  // null where it is all()
  std::unique_ptr<Communicator> replicate_;
};

}  // namespace trireme
