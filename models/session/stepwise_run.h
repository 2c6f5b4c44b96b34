// A short run in any layout, step by step, on the same samples in every layout.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "models/session/named_tensors.h"
#include "models/session/training_session.h"

namespace trireme {

/// The global batches of a run. They do not depend on the number of data-parallel ranks, which take
/// micro-batches in turn.
struct BatchShape {
  int64_t seq_len = 0;
  int64_t micro_batch = 0;                  ///< samples of one
  int64_t global_batch = 0;                 ///< samples of a step
  std::optional<int32_t> end_of_text = {};  ///< documents that it ends do not see each other
};

/// Writes `seq_len` inputs and targets of a sample, which depend on its number alone.
using SampleReader = std::function<void(int64_t sample, int32_t* inputs, int32_t* targets)>;

/// Likewise the weights of its targets.
using WeightReader = std::function<void(int64_t sample, float* weights)>;

class StepwiseRun {
 public:
  /// `session` outlives the run. All ranks of its world make one, and make the calls below together.
  /// Without `read_weights` all targets weigh the same.
  StepwiseRun(TrainingSession& session, const BatchShape& shape, SampleReader read_sample,
              WeightReader read_weights = {});

  /// Number of the step that read() and run_passes() are about; the first is 0.
  int64_t number() const { return number_; }
  /// This replica's micro-batches of the step.
  std::vector<MicroBatch> read();
  /// Forward and backward passes of micro-batches as read() gave them; what they measured. Afterwards
  /// gradients can be collected.
  StepNumbers run_passes(std::vector<MicroBatch>& micro_batches, double loss_scale);
  /// The update, with which the step ends.
  void apply(double lr);
  /// In its place: the passes are forgotten, and can be run again.
  void skip();

  /// Whole parameters on rank 0: f32 masters, or between run_passes() and apply() gradients (sums over
  /// tokens, times the loss scale).
  NamedTensors collect(ParameterState state);

 private:
  TrainingSession& session_;
  BatchShape shape_;
  SampleReader read_sample_;
  WeightReader read_weights_;
  std::optional<PendingStep> pending_;
  int64_t number_ = 0;
};

}  // namespace trireme
