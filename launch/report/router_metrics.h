// Load-balance metrics of MoE routers in a step.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "parallel/training/router_load.h"

namespace trireme::launch {

struct RouterMetrics {
  int64_t layer = 0;         ///< block of the model
  std::vector<double> load;  ///< choices of each expert, as a share of all; they sum to 1
  double imbalance = 1;      ///< the largest load over the mean
  double entropy = 1;        ///< of the loads, over that of equal ones: 1 is even, 0 all tokens to one expert
  double dropped = 0;        ///< share of the choices that a full expert turned away
  int64_t num_dead = 0;      ///< experts that no token chose
  double expert_ms = 0;      ///< in which a rank's experts computed, mean of the ranks
  double lost_ms = 0;        ///< by which the slowest rank took longer: the others waited
};

RouterMetrics router_metrics(const RouterLoad& load);

/// "load 1.31x": the largest imbalance of all routers; with "drop 2.1%" and "dead 3" where there are such.
/// Empty without routers.
std::string load_field(std::span<const RouterMetrics> routers);

}  // namespace trireme::launch
