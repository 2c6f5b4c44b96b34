// CrossEntropy: the language-model objective, with optional z-loss and label smoothing.
#pragma once

#include "models/config/loss_config.h"
#include "models/layers/objective.h"

namespace trireme {

class CrossEntropy final : public Objective {
 public:
  explicit CrossEntropy(const LossConfig& config) : config_(config) {}

  /// sums.loss is the plain cross-entropy; sums.added what z-loss and smoothing add to it.
  void apply(Context& ctx, const TensorParallel& tensor, const RowLogits& logits, const RowTargets& targets,
             float gradient_scale, const LossSums& sums, const ops::Columns& dlogits) const override;

 private:
  LossConfig config_;
};

}  // namespace trireme
