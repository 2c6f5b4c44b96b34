// The device's work of a training step as graphs, each submitted by one call instead of hundreds.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "parallel/module/micro_batch.h"
#include "runtime/device/context.h"

namespace trireme {

/// Work that is done as it is the first time, so that libraries make their plans, groups meet and memory is
/// found; the second time it is captured; from then on the graph runs in its place.
class CapturedWork {
 public:
  void run(Context& ctx, const std::function<void()>& work);
  /// Begins anew with the next call.
  void forget();

 private:
  bool is_prepared_ = false;
  std::unique_ptr<Graph> graph_;
};

class StepGraph {
 public:
  /// What is to be captured: all that it reads of a step lies in these micro-batches and on the device.
  using Passes = std::function<void(std::span<MicroBatch>)>;

  /// Does `passes` with the tokens of micro_batches, from tensors of its own: captured anew when
  /// micro-batches of other sizes, or another loss scale, come.
  void run_passes(Context& ctx, std::span<const MicroBatch> micro_batches, double loss_scale,
                  const Passes& passes);
  /// Does `update`, which reads what is on the device alone.
  void run_update(Context& ctx, const std::function<void()>& update) { update_.run(ctx, update); }

 private:
  bool fits(std::span<const MicroBatch> micro_batches, double loss_scale) const;

  std::vector<MicroBatch> micro_batches_;
  double loss_scale_ = 0;
  CapturedWork passes_, update_;
};

}  // namespace trireme
