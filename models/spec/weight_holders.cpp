#include "models/spec/weight_holders.h"

#include <algorithm>
#include <set>

namespace trireme {

WeightHolders::WeightHolders(const ModelSpec& spec, std::span<const int> placement, int num_ranks) {
  const auto num_places = static_cast<size_t>(spec.num_blocks()) + 2;
  first_user_.push_back(0);
  for (int64_t i = 0; i < spec.num_blocks(); ++i) first_user_.push_back(1 + spec.weights_of(i));
  first_user_.push_back(spec.head.tied ? 0 : spec.num_blocks() + 1);
  rank_of_.assign(num_places, 0);
  for (size_t v = 0; v + 1 < placement.size(); ++v) {
    for (int place = placement[v]; place < placement[v + 1]; ++place)
      rank_of_[static_cast<size_t>(place)] = static_cast<int>(v) % num_ranks;
  }
  std::map<int64_t, std::set<int>> holders;
  for (size_t place = 0; place < num_places; ++place) holders[first_user_[place]].insert(rank_of_[place]);
  for (const auto& [place, ranks] : holders) {
    if (ranks.size() == 1) continue;
    const std::vector<int> set(ranks.begin(), ranks.end());
    auto found = std::ranges::find(sets_, set);
    if (found == sets_.end()) found = sets_.insert(found, set);
    set_of_[place] = static_cast<int>(found - sets_.begin()) + 1;
  }
}

int WeightHolders::set_of(int64_t place) const {
  const auto it = set_of_.find(place);
  return it == set_of_.end() ? 0 : it->second;
}

}  // namespace trireme
