// Softmax cross-entropy fused with its gradient.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// A target that counts neither in the loss nor in the gradient.
inline constexpr int32_t kIgnoredTarget = -1;

/// loss[n] = -log softmax(logits[n])[targets[n]], in nats; 0 where the target is ignored. logits: [N,V]
/// compute type, targets: [N] i32, loss: [N] f32. dlogits ([N,V], compute type; may be absent or logits
/// itself) = gradient_scale * (softmax - one-hot), the gradient of the *sum* of the losses; rows of ignored
/// targets are zero. With a `soft_cap` c above 0 a logit x counts as c * tanh(x / c), in fp32 (Gemma 2, arXiv
/// 2408.00118), and dlogits are the gradient of x.
void cross_entropy(Context& ctx, const Columns& logits, const Tensor& targets, float gradient_scale,
                   const Tensor& loss, const Columns& dlogits, float soft_cap = 0);
TRIREME_OP_BODIES(cross_entropy, Context& ctx, const Columns& logits, const Tensor& targets,
                  float gradient_scale, const Tensor& loss, const Columns& dlogits, float soft_cap)

/// Cross-entropy over a divided vocabulary, first half. logits [N,V] are the columns `part` of rows whose
/// other columns lie elsewhere; targets [N] i32 count over all columns. statistics [N,3] f32 receives for
/// each row the largest logit here, the sum of exp(logit - largest), and the target's logit, or 0 where the
/// target lies elsewhere or is ignored; all of them under the soft cap.
void cross_entropy_statistics(Context& ctx, const Columns& logits, const Tensor& targets,
                              const TablePart& part, const Tensor& statistics, float soft_cap = 0);
TRIREME_OP_BODIES(cross_entropy_statistics, Context& ctx, const Columns& logits, const Tensor& targets,
                  const TablePart& part, const Tensor& statistics, float soft_cap)
/// Second half: statistics [P,N,3] f32 of all P parts of the vocabulary. loss [N] f32 as in cross_entropy,
/// the same bits wherever it is computed; dlogits ([N,V]; may be absent or logits itself) are this part's
/// columns of its dlogits. The soft cap is that of the first half.
void cross_entropy_of_part(Context& ctx, const Columns& logits, const Tensor& targets, const TablePart& part,
                           const Tensor& statistics, float gradient_scale, const Tensor& loss,
                           const Columns& dlogits, float soft_cap = 0);
TRIREME_OP_BODIES(cross_entropy_of_part, Context& ctx, const Columns& logits, const Tensor& targets,
                  const TablePart& part, const Tensor& statistics, float gradient_scale, const Tensor& loss,
                  const Columns& dlogits, float soft_cap)

}  // namespace trireme::ops
