// The words in which a job ends that cannot go on.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/watch/judge/desk.h"

namespace trireme::watch {

/// Ranks whose main threads are in the same functions.
struct StackGroup {
  std::vector<int> ranks;
  std::vector<std::string> frames;  ///< innermost first; empty: they gave none
};
/// The smallest first: outliers.
std::vector<StackGroup> group_stacks(std::span<const RankReport> reports);

/// Several lines; the last begins with "trireme: error: " and names the culprits. `directory`: where the
/// ranks have written their files; empty: nowhere. `witness`: what NCCL says, if anything.
std::string ending_text(const Ending& ending, const std::string& directory,
                        const std::vector<std::string>& witness);

}  // namespace trireme::watch
