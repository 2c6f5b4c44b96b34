// ExpertParallel: what a layer needs to shard its experts (GShard, arXiv 2006.16668).
#pragma once

#include <vector>

#include "parallel/tensor_parallel/tensor_parallel.h"

namespace trireme {

/// A small value that layers keep. The ranks of the group pass different rows and hold different experts:
/// each has as many neighbouring ones, or of each of them the part that width() says.
class ExpertParallel {
 public:
  /// `group` and `width` outlive all copies.
  ExpertParallel(Communicator& group, Communicator& width, int num_chunks = 1)
      : group_(&group), width_(width), num_chunks_(num_chunks) {}
  explicit ExpertParallel(const ParallelContext& parallel)
      : ExpertParallel(parallel.experts(), parallel.expert_tensor(), parallel.plan().expert_chunks) {}

  Communicator& group() const { return *group_; }
  /// The ranks that shard the width of the same experts, and pass the same rows.
  const TensorParallel& width() const { return width_; }
  int size() const { return group_->size(); }
  /// Parts in which rows travel: each is for some of the experts of every rank.
  int num_chunks() const { return num_chunks_; }
  /// Those of a rank's `held` experts to which a chunk goes, counted from the rank's first.
  Part chunk(int64_t held, int index) const {
    return {held * index / num_chunks_, held * (index + 1) / num_chunks_};
  }
  /// The model's experts in the order in which rows leave for them: by chunk, rank and number.
  std::vector<int64_t> order(int64_t num_experts) const {
    std::vector<int64_t> experts;
    const int64_t held = num_experts / size();
    for (int index = 0; index < num_chunks_; ++index) {
      for (int64_t rank = 0; rank < size(); ++rank) {
        for (int64_t e = chunk(held, index).begin; e < chunk(held, index).end; ++e)
          experts.push_back(rank * held + e);
      }
    }
    return experts;
  }
  /// Those of `num_experts`, a multiple of size(), that this rank holds.
  Part part(int64_t num_experts) const {
    TRIREME_CHECK(num_experts % size() == 0, "{} experts on {} ranks", num_experts, size());
    const int64_t held = num_experts / size();
    return {held * group_->rank(), held * (group_->rank() + 1)};
  }

 private:
  Communicator* group_;
  TensorParallel width_;
  int num_chunks_;
};

}  // namespace trireme
