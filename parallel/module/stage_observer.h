// StageObserver: observes the tensors between the layers of a stage.
#pragma once

#include <span>
#include <string>

#include "parallel/module/micro_batch.h"
#include "parallel/module/parameter.h"
#include "runtime/device/context.h"

namespace trireme {

/// A layer as an observer meets it.
struct ObservedLayer {
  std::string name;                         ///< "layers.3"
  size_t index = 0;                         ///< in its stage
  std::span<ParameterBlock* const> blocks;  ///< that it reads and adds gradients to; others may use them too
};

/// Called between the layers' passes, in the order in which they run. Checks look at the tensors; tests may
/// write to them. What a call does not override, it does not see.
class StageObserver {
 public:
  virtual ~StageObserver() = default;
  /// The calls that follow belong to this micro-batch, the `index`-th of the step on this rank, and to the
  /// `stage`-th stage of the model.
  virtual void enter(int64_t /*index*/, const MicroBatch&, int /*stage*/) {}
  virtual void before_forward(Context&, const ObservedLayer&) {}
  /// y is undefined after the layer that ends in the loss.
  virtual void after_forward(Context&, const ObservedLayer&, const Tensor& /*y*/) {}
  /// dx is undefined after the layer that begins with tokens.
  virtual void after_backward_input(Context&, const ObservedLayer&, const Tensor& /*dx*/) {}
  /// The gradients of layer.blocks hold what the micro-batches so far have added.
  virtual void after_backward_weight(Context&, const ObservedLayer&) {}
};

}  // namespace trireme
