// Distillation: the objective of a student, from its logits, the targets, and what a teacher says.
#pragma once

#include "models/config/distill_config.h"
#include "models/config/loss_config.h"
#include "models/layers/objective.h"
#include "runtime/ops/training/distillation.h"

namespace trireme {

ops::Divergence divergence_of(const DistillConfig& config);

class Distillation final : public Objective {
 public:
  Distillation(const LossConfig& loss, const DistillConfig& distill) : loss_(loss), distill_(distill) {}

  /// sums.loss is the plain cross-entropy, as without a teacher; sums.added what else is minimised: all of it
  /// less that. targets.teacher is there (CHECK) but in evaluations, where it may be absent, and nothing is
  /// added then. No tensor of f32 is as large as the logits.
  void apply(Context& ctx, const TensorParallel& tensor, const RowLogits& logits, const RowTargets& targets,
             float gradient_scale, const LossSums& sums, const ops::Columns& dlogits) const override;
  double states_weight() const override { return distill_.hidden_weight; }

 private:
  LossConfig loss_;
  DistillConfig distill_;
};

}  // namespace trireme
