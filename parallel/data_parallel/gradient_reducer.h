// GradientReducer: bucketed gradient reduction over data-parallel ranks, overlapping with the backward pass.
#pragma once

#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

#include "parallel/module/parameter_storage.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

/// Buckets are runs of blocks in a group's flat gradients, in the order in which the backward pass completes
/// them, so every rank issues the same reductions in the same order (Li et al., "PyTorch Distributed", VLDB
/// 2020, section 3.2). Where the storage shards its state (ZeRO), each rank receives its shard of the sum
/// only; where it shards gradients too (stage 2), a bucket has memory from the first layer that adds to it
/// until its reduction is done. Groups that are frozen have no gradients. Where it shards them over fewer
/// ranks than process tokens (HSDP, Zhao et al., arXiv 2304.11277, section 3.2.2), each shard is then summed
/// over the ranks that hold the same one.
class GradientReducer {
 public:
  /// A group's shards belong to the ranks of parallel.replicas(group.kind()).shard(). Without `overlap` whole
  /// gradients are reduced in finish(), and sharded ones in ready(), which then waits. Gradients travel as
  /// `sent`: f32, or bf16 or f16, to which each rank's share is rounded; the shares are added in fp32 and
  /// every sum is rounded once, so that half the traffic costs two roundings (HSDP: three) whatever the
  /// number of ranks. Arguments outlive the reducer.
  GradientReducer(const ParallelContext& parallel, ParameterStorage& storage, bool overlap,
                  DType sent = DType::f32);

  /// A layer is about to add to the gradients of these blocks.
  void expect(Context& ctx, std::span<const ParameterBlock* const> blocks);
  /// The gradients of these blocks are complete for the step: reduces the buckets that have become full.
  void ready(Context& ctx, std::span<ParameterBlock* const> blocks);
  /// Reduces the buckets that are left and waits for all. After it this rank's shard of the gradients is the
  /// sum over all ranks (every element is where nothing is sharded), and the next step may begin.
  void finish(Context& ctx);

  int64_t num_buckets() const { return static_cast<int64_t>(buckets_.size()); }

 private:
  struct Bucket {
    ParameterGroup* group;
    ParameterBucket* range;
    int num_blocks = 0;
    int num_ready = 0;
    bool reduced = false;
    WorkPtr work = nullptr;
    Tensor sum = {}, own = {};  // in flight: what will be this rank's result, and where it belongs
  };
  // Of a shard over the ranks that hold the same one.
  struct SecondSum {
    WorkPtr work;
    Tensor sum, own;  // what is summed, and where it belongs
  };
  bool is_sharded(const Bucket& bucket) const;
  WorkPtr start_sum(Context& ctx, Bucket& bucket);
  const ReplicaGroups& replicas(const Bucket& bucket) const {
    return parallel_.replicas(bucket.group->kind());
  }
  bool has_second_sum(const Bucket& bucket) const {
    return bucket.group->num_shards > 1 && replicas(bucket).replicate().size() > 1;
  }
  Bucket* find(const ParameterBlock* block);  // null where there is nothing to sum
  void reduce(Context& ctx, Bucket& bucket);
  void wait_for_oldest(Context& ctx);
  void wait_for_all(Context& ctx);

  const ParallelContext& parallel_;
  ParameterStorage& storage_;
  bool overlap_;
  DType sent_;
  std::vector<Bucket> buckets_;
  std::unordered_map<const ParameterBlock*, size_t> bucket_of_;
  std::deque<Bucket*> in_flight_;
  std::vector<SecondSum> among_replicas_;
  std::vector<std::shared_ptr<void>> registrations_;  // of whole gradients with the group that sums them
};

}  // namespace trireme
