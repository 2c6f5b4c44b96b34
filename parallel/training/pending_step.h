// PendingStep: a step whose gradients are computed and whose update is still to come.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "parallel/module/micro_batch.h"
#include "parallel/training/batch_totals.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

/// Loss and gradient norm of a step. Its calls wait for the device if it is still running the step. Copies
/// are cheap, and may outlive the step.
class StepNumbers {
 public:
  BatchTotals totals() const { return with_sums(known_, numbers_.values()); }
  /// The global L2 norm of the mean gradient. Bits do not depend on the ZeRO stage. Finite on all ranks or on
  /// none: it is not where the loss or any gradient is not, on whatever rank.
  double gradient_norm() const { return numbers_.values()[3]; }

 private:
  friend class TrainingStep;
  StepNumbers(ops::HostCopy<double> numbers, const BatchTotals& known)
      : numbers_(std::move(numbers)), known_(known) {}

  ops::HostCopy<double> numbers_;  // sums of losses, of what is added, of weights; norm
  BatchTotals known_;
};

/// Made by TrainingStep::forward_backward(), and taken by exactly one of TrainingStep::apply() and skip().
/// One that is dropped instead leaves its gradients where they are, so that the next forward_backward() of
/// the step fails a check: a defect, unless an exception ended the training. Moved, never copied.
class [[nodiscard]] PendingStep {
 public:
  PendingStep(PendingStep&&) noexcept = default;
  PendingStep& operator=(PendingStep&&) noexcept = default;

  const StepNumbers& numbers() const { return content_->numbers; }
  /// Those of numbers(), which wait for the device.
  BatchTotals totals() const { return numbers().totals(); }
  double gradient_norm() const { return numbers().gradient_norm(); }

 private:
  friend class TrainingStep;
  struct Content {
    StepNumbers numbers;
    std::vector<MicroBatch> micro_batches;
    double loss_scale;
    const void* step;           // the TrainingStep that made it
    uint64_t number;            // of the steps that this one began
    bool has_gradients = true;  // else it can only be skipped
  };
  explicit PendingStep(Content content) : content_(std::make_unique<Content>(std::move(content))) {}

  std::unique_ptr<Content> content_;  // null once it was moved from
};

}  // namespace trireme
