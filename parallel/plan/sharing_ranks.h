// SharingRanks: the ranks that hold the same parameters, and how they divide the state of these.
#pragma once

#include <memory>

#include "runtime/comm/communicator.h"

namespace trireme {

/// Gradients are summed over all(). ZeRO divides state among the neighbours of shard(); replicas() are the
/// ranks that hold the same part in each such group.
class SharingRanks {
 public:
  /// `all` outlives this; its ranks make one together, with the same `shard_size`, which divides their
  /// number.
  SharingRanks(Communicator& all, int shard_size);

  Communicator& all() const { return *all_; }
  Communicator& shard() const { return shard_ ? *shard_ : *all_; }
  Communicator& replicas() const { return *replicas_; }

 private:
  Communicator* all_;
  std::unique_ptr<Communicator> shard_;  // null where it is all()
  std::unique_ptr<Communicator> replicas_;
};

}  // namespace trireme
