// HolderGroups: the groups of pipeline ranks that replicate shared parameters.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "runtime/comm/communicator.h"

namespace trireme {

/// Layers of several stages may share weights (a tied head, models/spec/weight_holders.h). Each of these
/// stages has a copy with state of its own, which its ReplicaGroups and its ShardingSpec shard as all other
/// parameters: copies begin with the same values and are updated with the same gradient, so only gradients
/// are sent.
class HolderGroups {
 public:
  /// A communicator a set (ModelPart::holders), made in their order by every rank of `pipeline`, which
  /// outlives it. All pass the same sets.
  HolderGroups(Communicator& pipeline, std::span<const std::vector<int>> sets);

  /// Of the set with this number, from 1, to which this rank belongs.
  Communicator& group(int number) const { return *groups_[static_cast<size_t>(number) - 1]; }

 private:
  std::vector<std::unique_ptr<Communicator>> groups_;
};

}  // namespace trireme
