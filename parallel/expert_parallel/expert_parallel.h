// ExpertParallel: what a layer needs to know to hold some of the experts (GShard, arXiv 2006.16668).
#pragma once

#include "parallel/module/parameter.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

/// A small value that layers keep. The ranks of the group see different tokens and hold different experts:
/// each has as many neighbouring ones.
class ExpertParallel {
 public:
  /// `group` outlives all copies.
  explicit ExpertParallel(Communicator& group) : group_(&group) {}
  explicit ExpertParallel(const ParallelContext& parallel) : ExpertParallel(parallel.experts()) {}

  Communicator& group() const { return *group_; }
  int size() const { return group_->size(); }
  /// Those of `num_experts`, a multiple of size(), that this rank holds.
  Part part(int64_t num_experts) const {
    TRIREME_CHECK(num_experts % size() == 0, "{} experts on {} ranks", num_experts, size());
    const int64_t held = num_experts / size();
    return {held * group_->rank(), held * (group_->rank() + 1)};
  }

 private:
  Communicator* group_;
};

}  // namespace trireme
