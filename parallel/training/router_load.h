// RouterLoad: routing statistics of a router in a step, over the global batch.
#pragma once

#include <span>
#include <vector>

#include "parallel/module/router_balance.h"
#include "parallel/training/statistics_totals.h"

namespace trireme {

struct RouterLoad {
  int64_t layer = 0;  ///< block of the model
  RouterSums sums;
  /// For which experts computed: mean of the stage's ranks, and the slowest one.
  double mean_seconds = 0, slowest_seconds = 0;
};

/// Those of the totals that routers counted.
inline std::vector<RouterLoad> router_loads(std::span<const LayerTotals> totals) {
  std::vector<RouterLoad> loads;
  for (const LayerTotals& t : totals) {
    if (t.kind == StatisticsKind::router)
      loads.push_back({t.layer, RouterSums::unpack(t.counts), t.mean_seconds, t.slowest_seconds});
  }
  return loads;
}

}  // namespace trireme
