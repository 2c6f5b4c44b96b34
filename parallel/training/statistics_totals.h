// StatisticsTotals: reduces the LayerStatistics of the whole model over all ranks.
#pragma once

#include <vector>

#include "parallel/module/layer_statistics.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

/// Of one LayerStatistics, over the global batch.
struct LayerTotals {
  StatisticsKind kind{};
  int64_t layer = 0;           ///< block of the model
  std::vector<double> counts;  ///< LayerStatistics::counted()
  /// LayerStatistics::seconds(): mean of the stage's ranks, and the slowest one.
  double mean_seconds = 0, slowest_seconds = 0;
};

class StatisticsTotals {
 public:
  /// All ranks make one. `own` are those of this rank's stages and outlive it.
  StatisticsTotals(Context& ctx, const ParallelContext& parallel, std::vector<LayerStatistics*> own);

  void clear();
  /// Sums what this rank's layers have counted over all ranks, which all call it. Where no layer of the model
  /// counts nothing is sent.
  void sum(Context& ctx);
  /// Those of the whole model by layer, as last summed.
  const std::vector<LayerTotals>& all() const { return sorted_; }
  /// The step was made: hands the last sums to the layers.
  void finish();

 private:
  const ParallelContext& parallel_;
  std::vector<LayerStatistics*> own_;
  int64_t num_rows_ = 0, first_ = 0;  // of the model; those of the pipeline ranks before
  int64_t width_ = 0;                 // the most numbers that one counts
  std::vector<LayerTotals> rows_, sorted_;
};

}  // namespace trireme
