// The device's work of a training step as one graph, submitted by one call instead of hundreds.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "parallel/module/micro_batch.h"
#include "runtime/device/context.h"

namespace trireme {

class StepGraph {
 public:
  /// What is to be captured: all that it reads of a step lies in these micro-batches and on the device.
  using Work = std::function<void(std::span<MicroBatch>)>;

  /// Does `work` with the tokens of micro_batches, from tensors of its own. The first time that micro-batches
  /// of such sizes and this loss scale come the work is done as it is, so that libraries make their plans,
  /// groups meet and memory is found; the second time it is captured; from then on the graph runs.
  void run(Context& ctx, std::span<const MicroBatch> micro_batches, double loss_scale, const Work& work);

 private:
  bool fits(std::span<const MicroBatch> micro_batches, double loss_scale) const;

  std::vector<MicroBatch> micro_batches_;
  double loss_scale_ = 0;
  bool is_prepared_ = false;
  std::unique_ptr<Graph> graph_;
};

}  // namespace trireme
