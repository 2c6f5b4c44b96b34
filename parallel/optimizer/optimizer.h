// Optimizer: turns reduced gradients into new weights, for the groups of a storage whose settings name it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "parallel/module/parameter_storage.h"

namespace trireme {

/// Told that this rank's shard of a bucket has its new weights.
using BucketUpdated = std::function<void(const ParameterGroup&, const ParameterBucket&)>;

/// What an optimizer keeps beside a group: f32, a number for each element, as a sharded buffer of the group
/// (BufferExtent::sharded), padding zero. own_ranges() says which elements of the model these are.
struct StateBuffer {
  std::string name;  ///< "first_moment"
  const ParameterGroup* group;
  Tensor values;
};

/// ModelOptimizer drives all those of a rank. Groups that are frozen have no optimizer.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  virtual OptimizerKind kind() const = 0;
  /// Begins update `number`, counted from 1: gives the device what follows from it and from the learning
  /// rate, of which each group's settings have a factor.
  virtual void begin(Context& ctx, double lr, int64_t number) = 0;
  /// The update, of this rank's shards, with gradient_scale ([1] f32) * gradient; writes the master weights
  /// and their rounded copies, or the weights alone, stochastically rounded. A scale that is not finite
  /// changes nothing. The host waits for nothing. All ranks that hold pieces of the groups call it; every
  /// bucket is passed once, in one order on all of them.
  virtual void update(Context& ctx, const Tensor& gradient_scale, const BucketUpdated& updated) = 0;
  /// In the order of the groups. What is written there takes the place of the state.
  virtual std::vector<StateBuffer> state() const = 0;
};

/// The groups of a storage that an optimizer of this kind updates.
std::vector<const ParameterGroup*> groups_of(ParameterStorage& storage, OptimizerKind kind);

/// Zeros beside a group, as StateBuffer says.
Tensor make_state(Context& ctx, const ParameterGroup& group);

}  // namespace trireme
