// WeightAccess: gives a stage its weights when they are sharded (ZeRO 3).
#pragma once

#include <span>

#include "parallel/module/parameter.h"

namespace trireme {

/// Called with the layer that runs and the next one. Every rank that holds a shard of the weights gets the
/// same calls in the same order. Stages that share a storage share its WeightAccess.
class WeightAccess {
 public:
  virtual ~WeightAccess() = default;
  /// These blocks will be acquired soon: may start to gather (prefetch) them.
  virtual void expect(Context& ctx, std::span<const ParameterBlock* const> blocks) = 0;
  /// After the call the blocks' weights are set, until release(). May be called again meanwhile, with one
  /// release() for each.
  virtual void acquire(Context& ctx, std::span<const ParameterBlock* const> blocks) = 0;
  /// Their weights are not read any more.
  virtual void release(std::span<const ParameterBlock* const> blocks) noexcept = 0;
};

/// Holds the weights of a layer for its scope, and prefetches those of the `next` layer.
class ScopedWeights {
 public:
  /// `access` may be null: the weights are always there. What `blocks` views outlives this.
  ScopedWeights(Context& ctx, WeightAccess* access, std::span<const ParameterBlock* const> blocks,
                std::span<const ParameterBlock* const> next)
      : access_(access), blocks_(blocks) {
    if (access_ == nullptr) return;
    access_->acquire(ctx, blocks);
    access_->expect(ctx, next);
  }
  ~ScopedWeights() {
    if (access_ != nullptr) access_->release(blocks_);
  }
  ScopedWeights(const ScopedWeights&) = delete;
  ScopedWeights& operator=(const ScopedWeights&) = delete;

 private:
  WeightAccess* access_;
  std::span<const ParameterBlock* const> blocks_;
};

}  // namespace trireme
