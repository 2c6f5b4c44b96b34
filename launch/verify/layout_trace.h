// What passes between the layers of a model during a step, small enough to be compared.
#pragma once

#include <vector>

#include "models/transformer/transformer.h"
#include "parallel/module/stage_observer.h"

namespace trireme {

/// One number for each layer, micro-batch and direction: the sum of squares of what the layer gave on
/// (forward: its output; backward: the gradient of its input). It does not depend on the layout but for
/// rounding.
class LayoutTrace final : public StageObserver {
 public:
  /// For steps of `num_micro_batches` in all replicas together.
  LayoutTrace(const ParallelContext& parallel, const Transformer& model, int64_t num_micro_batches);

  void enter(int64_t index, const MicroBatch& micro_batch, int stage) override;
  void after_forward(Context& ctx, const ObservedLayer& layer, const Tensor& y) override;
  void after_backward_input(Context& ctx, const ObservedLayer& layer, const Tensor& dx) override;

  /// The numbers of a step, equal on all ranks, in the order in which one rank makes them: micro-batch by
  /// micro-batch, forward from the embedding on, then backward from the head on. Clears them. All ranks call
  /// it.
  std::vector<double> take(Context& ctx);

 private:
  void note(Context& ctx, size_t place, bool is_forward, const Tensor& t);

  const ParallelContext& parallel_;
  std::vector<int> placement_;
  size_t num_layers_;
  std::vector<double> sums_;
  // Of the pass under way.
  size_t micro_batch_ = 0, first_layer_ = 0;
  bool counts_ = true;
};

/// Where entry `index` of a trace of a model with `num_layers` blocks comes from: "micro-batch 3, forward,
/// layers.1".
std::string trace_place(size_t index, int64_t num_layers);

}  // namespace trireme
