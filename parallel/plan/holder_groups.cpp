#include "parallel/plan/holder_groups.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace trireme {

HolderGroups::HolderGroups(Communicator& pipeline, std::span<const std::vector<int>> sets) {
  const int rank = pipeline.rank();
  for (const std::vector<int>& set : sets) {
    TRIREME_CHECK(set.size() > 1 && std::ranges::is_sorted(set) && set.back() < pipeline.size(),
                  "{} of {} pipeline ranks hold the same weights", set.size(), pipeline.size());
    const bool holds = std::ranges::find(set, rank) != set.end();
    groups_.push_back(pipeline.split(holds ? 1 : 0, rank, "shared-weights"));
  }
}

}  // namespace trireme
