// PipelineExecutor: runs one stage's list of actions, for any schedule and any model.
#pragma once

#include <chrono>
#include <functional>
#include <span>

#include "parallel/module/model_part.h"
#include "parallel/pipeline/schedule.h"
#include "runtime/comm/communicator.h"

namespace trireme {

/// Whom the backward passes of a step tell about gradients. Both may be empty.
struct GradientHooks {
  GradientsExpected expected;  ///< before each backward pass of a layer
  GradientsReady ready;        ///< after a layer's last one of the step
};

/// How a rank spent the time of the runs so far.
struct PipelineTimes {
  double total_s = 0;    ///< from the first action to the last
  double compute_s = 0;  ///< forward and backward passes
  double bubble() const { return total_s > 0 ? 1 - compute_s / total_s : 0; }
};

class PipelineExecutor {
 public:
  /// `pipeline` is this rank's group along the pipeline axis: rank s runs stage s. Everything outlives the
  /// executor.
  PipelineExecutor(Communicator& pipeline, ModelPart& part) : pipeline_(pipeline), part_(part) {}

  /// Does what `schedule` lists for this rank. The schedule has no errors (check_schedule), as many stages as
  /// the group has ranks, as many chunks as the part, and as many micro-batches as are given. Every rank of
  /// the group calls it with the same schedule and the same micro-batches. Sends do not wait; a receive is
  /// posted one computation ahead of its need, so that it runs beside the computation before it.
  void run(Context& ctx, const Schedule& schedule, std::span<MicroBatch> micro_batches,
           const GradientHooks& hooks = {});

  const PipelineTimes& times() const { return times_; }
  void reset_times() { times_ = {}; }

 private:
  Communicator& pipeline_;
  ModelPart& part_;
  PipelineTimes times_;
};

}  // namespace trireme
