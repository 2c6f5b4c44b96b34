// RouterTotals: what the routers of the whole model have done in a step, on every rank.
#pragma once

#include <vector>

#include "parallel/module/router_balance.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

/// One router's sums over the global batch.
struct RouterLoad {
  int64_t layer = 0;  ///< block of the model
  RouterSums sums;
  /// For which experts computed: mean of the stage's ranks, and the slowest one.
  double mean_seconds = 0, slowest_seconds = 0;
};

class RouterTotals {
 public:
  /// All ranks make one. `routers` are those of this rank's stages and outlive it; all of the model have as
  /// many experts.
  RouterTotals(Context& ctx, const ParallelContext& parallel, std::vector<RouterBalance*> routers);

  void clear();
  /// Sums what this rank's routers have counted over all ranks, which all call it. Without routers nothing is
  /// sent.
  void sum(Context& ctx);
  /// Every router of the model by layer, as last summed.
  const std::vector<RouterLoad>& loads() const { return loads_; }
  /// The step was made: lets the routers follow the last sums.
  void finish();

 private:
  const ParallelContext& parallel_;
  std::vector<RouterBalance*> routers_;
  int64_t num_routers_ = 0, first_ = 0;  // of the model; those of the pipeline ranks before
  int64_t num_experts_ = 0;
  std::vector<RouterLoad> loads_;
};

}  // namespace trireme
