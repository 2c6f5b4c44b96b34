// One choice for each of many items, so that a total stays below a limit and another is least: the multiple-
// choice knapsack problem.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace trireme {

struct SearchChoice {
  double weight = 0;  ///< summed up, at most the limit
  double cost = 0;    ///< summed up, the least
};

/// The choice of each item, the first of those that are equal in both; nothing where the lightest choices
/// together exceed the limit. Numbers are finite; `limit` may be infinite. Exact unless more than 20,000
/// partial sums are left at once (then the most promising go on, and the result is no worse than the hulls').
std::optional<std::vector<size_t>> cheapest_within(const std::vector<std::vector<SearchChoice>>& items,
                                                   double limit);

}  // namespace trireme
