// RankGroups: who works together on a matrix while a model is quantized, and who has the result.
#pragma once

#include <memory>
#include <vector>

#include "models/spec/weight_holders.h"
#include "parallel/plan/parallel_context.h"
#include "runtime/device/context.h"

namespace trireme {

/// Ranks with the same layers work on a matrix together, and those with the same experts on an expert's: each
/// on some of its rows.
class RankGroups {
 public:
  /// All ranks make one. `parallel` outlives it.
  RankGroups(Context& ctx, const ParallelContext& parallel);

  Communicator& world() const { return parallel_.world(); }
  const ParallelContext& parallel() const { return parallel_; }
  /// The ranks that hold the same expert as this one, or with -1 those of its pipeline stage.
  Communicator& holders(int expert) const { return expert < 0 ? *stage_ : *same_experts_; }
  /// The first rank of the world among the holders of what pipeline rank `pipeline` has of expert `expert` of
  /// `num_experts` (or -1).
  int leader(int pipeline, int expert, int64_t num_experts) const;

 private:
  const ParallelContext& parallel_;
  std::unique_ptr<Communicator> stage_, same_experts_;
  std::vector<int32_t> places_;  // of each rank of the world its ranks of pipeline and of experts
};

}  // namespace trireme
