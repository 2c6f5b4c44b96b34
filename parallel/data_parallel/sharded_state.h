// What ranks that shard the state of parameters (ZeRO) communicate besides gradients. With state that is
// not sharded nothing is sent.
#pragma once

#include <span>
#include <vector>

#include "parallel/module/local_ranges.h"
#include "parallel/module/parameter_storage.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

/// out[0] += the sum of squares of the group's reduced gradients in the ranges that are `counted` (which do
/// not overlap, in order), equal on all ranks of `shard`, which divide; NaN where a gradient outside of them
/// is not finite. The sums of fixed blocks are exchanged and added in the order of the blocks, so the result
/// has the same bits however the gradients are sharded.
void add_sum_of_squares(Context& ctx, Communicator& shard, const ParameterGroup& group,
                        std::span<const IndexRange> counted, const Tensor& out);

/// Completes weights of which each rank has updated its shard, but those that are sharded themselves.
class WeightGatherer {
 public:
  /// Both outlive this. All ranks make one.
  WeightGatherer(const ParallelContext& parallel, ParameterStorage& storage);
  /// This rank's shard of the bucket's weights is new: starts to exchange it. All ranks in the same order.
  void start(Stream& stream, const ParameterGroup& group, const ParameterBucket& bucket);
  /// Waits for all.
  void finish();

 private:
  static bool gathers(const ParameterGroup& group) {
    return group.num_shards > 1 && !group.is_sharded(group.weights);
  }

  const ParallelContext& parallel_;
  std::vector<WorkPtr> works_;
  std::vector<std::shared_ptr<void>> registrations_;  // of weights with the group that exchanges them
};

/// What of a parameter is read.
enum class ParameterState { master, gradient };

/// Whole f32 masters (weights, where there are none), or reduced gradients, of one parameter after the other,
/// (zeros where it is frozen), gathered bucket by bucket; in the order of the forward pass no bucket is
/// gathered twice. The last bucket of each group is kept.
class StateReader {
 public:
  StateReader(Context& ctx, const ParallelContext& parallel, ParameterState state)
      : ctx_(ctx), parallel_(parallel), state_(state) {}
  /// Every rank that shards the parameter asks for the same parameters in the same order.
  Tensor read(const ParameterView& view);

 private:
  struct Gathered {
    const ParameterGroup* group;
    size_t bucket;
    Tensor values;
  };
  void gather(const ParameterGroup& group, const ParameterBucket& bucket, const Tensor& whole);

  Context& ctx_;
  const ParallelContext& parallel_;
  ParameterState state_;
  std::vector<Gathered> gathered_;  // at most one per group
};

}  // namespace trireme
