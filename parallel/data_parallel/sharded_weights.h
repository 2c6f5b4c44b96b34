// ZeRO stage 3: weights are sharded, and gathered while a layer needs them.
#pragma once

#include <unordered_map>
#include <vector>

#include "parallel/module/parameter_storage.h"
#include "parallel/module/weight_access.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

/// Gathers the buckets of a layer's blocks before it runs, those of the next layer beside it (as the prefetch
/// of FSDP, Zhao et al., arXiv 2304.11277), so that the weights of two layers are whole at once. The memory
/// of a layer that has run goes when the next gather begins: a layer that ends the forward pass and begins
/// the backward pass is gathered once. Blocks of which every rank has all weights cost nothing.
class ShardedWeights final : public WeightAccess {
 public:
  /// Both outlive this. Without `prefetch` a layer
  /// waits for its gather.
  ShardedWeights(const ParallelContext& parallel, ParameterStorage& storage, bool prefetch);

  void expect(Context& ctx, std::span<const ParameterBlock* const> blocks) override;
  void acquire(Context& ctx, std::span<const ParameterBlock* const> blocks) override;
  void release(std::span<const ParameterBlock* const> blocks) noexcept override;

 private:
  struct Bucket {
    const ParameterGroup* group;
    ParameterBucket* range;
    int num_readers = 0;     // blocks acquired and not yet released
    WorkPtr work = nullptr;  // its gather, until somebody waited
  };
  Bucket* find(const ParameterBlock* block);
  void gather(Context& ctx, std::span<const ParameterBlock* const> blocks);
  void drop_all_but(std::span<const ParameterBlock* const> blocks);

  const ParallelContext& parallel_;
  ParameterStorage& storage_;
  bool prefetch_;
  std::vector<Bucket> buckets_;
  std::unordered_map<const ParameterBlock*, size_t> bucket_of_;  // of blocks whose weights are sharded
};

}  // namespace trireme
