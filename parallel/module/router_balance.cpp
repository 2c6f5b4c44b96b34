#include "parallel/module/router_balance.h"

#include <numeric>
#include <utility>

namespace trireme {

std::vector<double> RouterSums::packed() const {
  std::vector<double> row = {num_tokens, num_dropped, aux_loss, z_loss};
  row.insert(row.end(), chosen.begin(), chosen.end());
  return row;
}

RouterSums RouterSums::unpack(std::span<const double> row) {
  return {row[0], row[1], row[2], row[3], {row.begin() + 4, row.end()}};
}

RouterBalance::RouterBalance(std::string router_name, int64_t router_layer, int64_t num_experts, double rate)
    : LayerStatistics(StatisticsKind::router, std::move(router_name), router_layer),
      bias_rate(rate),
      last_load(static_cast<size_t>(num_experts), 1.0) {
  if (rate > 0) bias.assign(last_load.size(), 0.0f);
  clear();
}

void RouterBalance::clear() {
  sums = {};
  expert_time.clear();
  sums.chosen.assign(last_load.size(), 0.0);
}

void RouterBalance::finish(const RouterSums& batch) {
  const double total = std::accumulate(batch.chosen.begin(), batch.chosen.end(), 0.0);
  const double even = total / static_cast<double>(batch.chosen.size());
  for (size_t e = 0; e < batch.chosen.size() && total > 0; ++e) {
    last_load[e] = batch.chosen[e] / even;
    if (bias.empty() || batch.chosen[e] == even) continue;
    bias[e] += static_cast<float>(batch.chosen[e] < even ? bias_rate : -bias_rate);
  }
}

}  // namespace trireme
