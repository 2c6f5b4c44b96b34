// Training steps as CUDA graphs, each launched by one call instead of hundreds.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "parallel/module/micro_batch.h"
#include "runtime/device/context.h"

namespace trireme {

/// Runs the work normally the first time, so that libraries make plans, groups connect and memory is
/// allocated; captures it the second time; replays the graph from then on.
class CapturedWork {
 public:
  void run(Context& ctx, const std::function<void()>& work);
  /// Restarts with the next call.
  void forget();

 private:
  bool is_prepared_ = false;
  std::unique_ptr<Graph> graph_;
};

class StepGraph {
 public:
  /// The work to capture: all inputs of a step are in these micro-batches and on the device.
  using Passes = std::function<void(std::span<MicroBatch>)>;

  /// Does `passes` with the tokens of micro_batches, from tensors of its own: captured again when
  /// micro-batches of other sizes, or another loss scale, come.
  void run_passes(Context& ctx, std::span<const MicroBatch> micro_batches, double loss_scale,
                  const Passes& passes);
  /// Does `update`, which reads only device memory.
  void run_update(Context& ctx, const std::function<void()>& update) { update_.run(ctx, update); }

 private:
  bool fits(std::span<const MicroBatch> micro_batches, double loss_scale) const;

  std::vector<MicroBatch> micro_batches_;
  double loss_scale_ = 0;
  CapturedWork passes_, update_;
};

}  // namespace trireme
