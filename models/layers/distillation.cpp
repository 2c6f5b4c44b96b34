#include "models/layers/distillation.h"

#include "models/layers/cross_entropy.h"
#include "parallel/tensor_parallel/vocabulary.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

ops::Divergence divergence_of(const DistillConfig& config) {
  switch (config.divergence) {
    case DivergenceKind::forward_kl:
      return {0, 1};
    case DivergenceKind::reverse_kl:
      return {1, 0};
    case DivergenceKind::skew_forward:
      return {config.skew, 1};
    case DivergenceKind::skew_reverse:
      return {1 - config.skew, 0};
    case DivergenceKind::jsd:
      return {config.beta, config.beta};
  }
  TRIREME_CHECK(false, "no divergence {}", static_cast<int>(config.divergence));
}

void Distillation::apply(Context& ctx, const TensorParallel& tensor, const RowLogits& logits,
                         const RowTargets& targets, float gradient_scale, const LossSums& sums,
                         const ops::Columns& dlogits) const {
  const RowTeacher& teacher = targets.teacher;
  if (!teacher) {
    TRIREME_CHECK(!dlogits, "a micro-batch of distillation has no teacher");
    return CrossEntropy(loss_).apply(ctx, tensor, logits, targets, gradient_scale, sums, dlogits);
  }
  const Shape rows{logits.columns.rows()};
  const Tensor loss = Tensor::empty(ctx, rows, DType::f32);
  const Tensor added = sums.added ? Tensor::empty(ctx, rows, DType::f32) : Tensor();
  const ops::DistillationOptions options{
      .entropy = {.gradient_scale = gradient_scale,
                  .soft_cap = logits.soft_cap,
                  .z_loss = static_cast<float>(loss_.z_loss),
                  .label_smoothing = static_cast<float>(loss_.label_smoothing)},
      .divergence = divergence_of(distill_),
      .weight = static_cast<float>(distill_.weight),
      .temperature = static_cast<float>(distill_.temperature)};
  vocabulary_distillation(
      ctx, tensor, logits.vocab_size, logits.columns, targets.ids,
      {teacher.logits, teacher.soft_cap, teacher.ids, teacher.probabilities, teacher.has_rest}, options, loss,
      dlogits, added, targets.weights);
  if (sums.loss) ops::add_sum(ctx, loss, sums.loss);
  if (sums.added) ops::add_sum(ctx, added, sums.added);
}

}  // namespace trireme
