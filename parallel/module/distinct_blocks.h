// Removes duplicates from lists of parameter blocks.
#pragma once

#include <span>
#include <unordered_set>
#include <vector>

#include "parallel/module/parameter.h"

namespace trireme {

/// Appends the blocks that are not in `all` already, in their order.
inline void append_new(std::vector<ParameterBlock*>& all, std::span<ParameterBlock* const> blocks) {
  std::unordered_set<const ParameterBlock*> known(all.begin(), all.end());
  for (ParameterBlock* block : blocks) {
    if (known.insert(block).second) all.push_back(block);
  }
}

}  // namespace trireme
