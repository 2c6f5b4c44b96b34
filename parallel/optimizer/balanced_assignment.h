// Balances work items of known cost over workers.
#pragma once

#include <span>
#include <vector>

namespace trireme {

/// For each worker the indices of its costs, the largest first: from the largest cost to the smallest each
/// goes to the worker that has least (Graham 1969), equal ones to the lowest number. No worker has more than
/// 4/3 of what the best assignment gives its busiest one. Follows from the arguments alone, thus equal on all
/// ranks.
std::vector<std::vector<int>> balanced_assignment(std::span<const double> costs, int num_workers);

}  // namespace trireme
