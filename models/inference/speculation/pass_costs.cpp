#include "models/inference/speculation/pass_costs.h"

#include <algorithm>
#include <bit>
#include <iterator>

namespace trireme {

namespace {

// Of a pass of one row: what each row more is taken to cost before passes of several were seen. Decoding is
// bound by reading the weights, which rows share.
constexpr double kRowShare = 0.25;
constexpr int64_t kStale = 64;    // passes
constexpr double kWellKnown = 4;  // passes near a node

/// Nodes: all numbers to 8, then four between powers of two.
int64_t node_spacing(int64_t rows) {
  const auto width = static_cast<int64_t>(std::bit_width(static_cast<uint64_t>(rows)));
  return int64_t{1} << std::max<int64_t>(width - 3, 0);
}
int64_t node_below(int64_t rows) { return rows / node_spacing(rows) * node_spacing(rows); }

}  // namespace

double PassCosts::relative(int64_t rows) const {
  const auto above = nodes_.lower_bound(rows);
  if (above == nodes_.begin()) return above->second.relative;  // fewer rows than ever seen: no less
  const auto below = std::prev(above);
  const double more = static_cast<double>(rows - below->first);
  if (above != nodes_.end()) {
    const double part = more / static_cast<double>(above->first - below->first);
    return below->second.relative + part * (above->second.relative - below->second.relative);
  }
  const auto first = nodes_.begin();
  if (first == below) {
    const double of_all = 1 + kRowShare * static_cast<double>(below->first - 1);
    return below->second.relative * (1 + more * kRowShare / of_all);
  }
  const double slope =
      (below->second.relative - first->second.relative) / static_cast<double>(below->first - first->first);
  return below->second.relative + more * std::max(slope, 0.0);
}

PassCosts::Node& PassCosts::at(int64_t rows) {
  if (const auto known = nodes_.find(rows); known != nodes_.end()) return known->second;
  // What its neighbours say counts as a pass: of many nodes with one each, the best would be so by chance.
  const Node guessed{nodes_.empty() ? 1 : relative(rows), 1, num_passes_};
  return nodes_.emplace(rows, guessed).first->second;
}

// One pass in many is held up by something else, so that none counts for much more than was expected.
void PassCosts::learn(int64_t rows, double seconds) {
  if (!(seconds > 0) || rows <= 0) return;
  ++num_passes_;
  const int64_t below = node_below(rows);
  if (nodes_.empty()) {
    scale_ = seconds;
    at(below);
    return;
  }
  constexpr double kOfScale = 0.05, kLeastOfNode = 0.05, kMostRatio = 1.5;
  at(below);
  const double part = static_cast<double>(rows - below) / static_cast<double>(node_spacing(rows));
  if (part > 0) at(below + node_spacing(rows));
  const double ratio = std::clamp(seconds / this->seconds(rows), 1 / kMostRatio, kMostRatio);
  for (const auto& [place, share] :
       {std::pair(below, 1 - part), std::pair(below + node_spacing(rows), part)}) {
    if (share <= 0) continue;
    Node& node = at(place);
    node.weight += share;
    node.relative *= 1 + share * std::max(kLeastOfNode, 1 / node.weight) * (ratio - 1);
    node.seen = num_passes_;
  }
  // What is new was only guessed.
  if (nodes_.at(below).weight >= kWellKnown) scale_ *= 1 + kOfScale * (ratio - 1);
}

bool PassCosts::is_stale(int64_t rows) const {
  const auto node = nodes_.find(node_below(rows));
  if (node == nodes_.end()) return true;
  const auto age = static_cast<double>(num_passes_ - node->second.seen);
  return age >= std::min<double>(kStale, 8 * node->second.weight);
}

}  // namespace trireme
