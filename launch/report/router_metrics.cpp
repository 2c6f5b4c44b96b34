#include "launch/report/router_metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

namespace trireme::launch {

RouterMetrics router_metrics(const RouterLoad& load) {
  RouterMetrics m;
  m.layer = load.layer;
  m.expert_ms = load.mean_seconds * 1e3;
  m.lost_ms = (load.slowest_seconds - load.mean_seconds) * 1e3;
  const std::vector<double>& chosen = load.sums.chosen;
  const double total = std::accumulate(chosen.begin(), chosen.end(), 0.0);
  const auto num_experts = static_cast<double>(chosen.size());
  if (total == 0) return m;
  double entropy = 0;
  for (const double count : chosen) {
    const double share = count / total;
    m.load.push_back(share);
    if (count > 0) entropy -= share * std::log(share);
    m.num_dead += count == 0 ? 1 : 0;
  }
  m.imbalance = *std::ranges::max_element(m.load) * num_experts;
  m.entropy = entropy / std::log(num_experts);
  m.dropped = load.sums.num_dropped / total;
  return m;
}

std::string load_field(std::span<const RouterMetrics> routers) {
  if (routers.empty()) return "";
  RouterMetrics worst;
  for (const RouterMetrics& m : routers) {
    worst.imbalance = std::max(worst.imbalance, m.imbalance);
    worst.dropped = std::max(worst.dropped, m.dropped);
    worst.num_dead = std::max(worst.num_dead, m.num_dead);
  }
  std::string text = fmt::format("load {:.2f}x", worst.imbalance);
  if (worst.dropped > 0) text += fmt::format(" drop {:.1f}%", 100 * worst.dropped);
  if (worst.num_dead > 0) text += fmt::format(" dead {}", worst.num_dead);
  return text;
}

}  // namespace trireme::launch
