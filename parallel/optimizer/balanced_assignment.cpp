#include "parallel/optimizer/balanced_assignment.h"

#include <algorithm>
#include <numeric>

#include "runtime/base/error.h"

namespace trireme {

std::vector<std::vector<int>> balanced_assignment(std::span<const double> costs, int num_workers) {
  TRIREME_CHECK(num_workers > 0, "{} workers", num_workers);
  std::vector<int> order(costs.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(
      order, [&](int a, int b) { return costs[static_cast<size_t>(a)] > costs[static_cast<size_t>(b)]; });
  std::vector<std::vector<int>> assigned(static_cast<size_t>(num_workers));
  std::vector<double> load(assigned.size(), 0.0);
  for (const int i : order) {
    const auto worker = static_cast<size_t>(std::ranges::min_element(load) - load.begin());
    assigned[worker].push_back(i);
    load[worker] += costs[static_cast<size_t>(i)];
  }
  return assigned;
}

}  // namespace trireme
