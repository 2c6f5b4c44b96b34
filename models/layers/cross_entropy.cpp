#include "models/layers/cross_entropy.h"

#include "parallel/tensor_parallel/vocabulary.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

void CrossEntropy::apply(Context& ctx, const TensorParallel& tensor, const RowLogits& logits,
                         const RowTargets& targets, float gradient_scale, const LossSums& sums,
                         const ops::Columns& dlogits) const {
  const Shape rows{logits.columns.rows()};
  const Tensor loss = Tensor::empty(ctx, rows, DType::f32);
  const bool tells_added = config_.adds_terms() && sums.added;
  const Tensor added = tells_added ? Tensor::empty(ctx, rows, DType::f32) : Tensor();
  vocabulary_cross_entropy(ctx, tensor, logits.vocab_size, logits.columns, targets.ids,
                           {.gradient_scale = gradient_scale,
                            .soft_cap = logits.soft_cap,
                            .z_loss = static_cast<float>(config_.z_loss),
                            .label_smoothing = static_cast<float>(config_.label_smoothing)},
                           loss, dlogits, added, targets.weights);
  if (sums.loss) ops::add_sum(ctx, loss, sums.loss);
  if (tells_added) ops::add_sum(ctx, added, sums.added);
}

}  // namespace trireme
