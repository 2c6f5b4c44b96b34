// WeightHolders: the pipeline ranks that replicate weights shared by several layers.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "models/spec/model_spec.h"

namespace trireme {

class WeightHolders {
 public:
  /// `placement`: where the virtual stages begin in the row of layers (embedding, blocks, head) and its end,
  /// stage v on rank v % num_ranks; empty: one rank has all.
  WeightHolders(const ModelSpec& spec, std::span<const int> placement, int num_ranks);

  /// The place of the layer that first uses the weights of the layer at `place`. A tied head's is 0, the
  /// embedding: what they share is the token table.
  int64_t first_user(int64_t place) const { return first_user_[static_cast<size_t>(place)]; }
  /// Sets of ranks, two or more each, ascending, in the order in which the row of layers comes to them.
  const std::vector<std::vector<int>>& sets() const { return sets_; }
  /// Of the weights that are first used at `place`: number of the set that holds them, from 1; 0: one rank.
  int set_of(int64_t place) const;
  /// The rank with the layer at `place`.
  int rank_of(int64_t place) const { return rank_of_[static_cast<size_t>(place)]; }

 private:
  std::vector<int64_t> first_user_;
  std::vector<int> rank_of_;
  std::vector<std::vector<int>> sets_;
  std::map<int64_t, int> set_of_;
};

}  // namespace trireme
