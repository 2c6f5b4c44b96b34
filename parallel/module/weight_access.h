// WeightAccess: how a stage comes by weights that are not always whole in memory.
#pragma once

#include <span>

#include "parallel/module/parameter.h"

namespace trireme {

/// Told which layer runs and which is the next one. Every rank that holds a shard of the weights gets the
/// same calls in the same order. Stages that share a storage share its WeightAccess.
class WeightAccess {
 public:
  virtual ~WeightAccess() = default;
  /// These blocks will be acquired soon: may begin to bring them.
  virtual void expect(Context& ctx, std::span<const ParameterBlock* const> blocks) = 0;
  /// After the call the blocks' weights are set, until release(). May be called again meanwhile, with one
  /// release() for each.
  virtual void acquire(Context& ctx, std::span<const ParameterBlock* const> blocks) = 0;
  /// Their weights are not read any more.
  virtual void release(std::span<const ParameterBlock* const> blocks) noexcept = 0;
};

/// The weights of a layer for as long as this lives. The `next` layer's are on their way meanwhile.
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
