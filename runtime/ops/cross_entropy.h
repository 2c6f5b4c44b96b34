// Softmax cross-entropy fused with its gradient.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// A target that counts neither in the loss nor in the gradient.
inline constexpr int32_t kIgnoredTarget = -1;

/// loss[n] = -log softmax(logits[n])[targets[n]], in nats; 0 where the target is ignored. logits: [N,V]
/// compute type, targets: [N] i32, loss: [N] f32. dlogits ([N,V], compute type; may be absent or logits
/// itself) = gradient_scale * (softmax - one-hot), the gradient of the *sum* of the losses; rows of ignored
/// targets are zero.
void cross_entropy(Context& ctx, const Tensor& logits, const Tensor& targets, float gradient_scale,
                   const Tensor& loss, const Tensor& dlogits);
TRIREME_OP_BODIES(cross_entropy, Context& ctx, const Tensor& logits, const Tensor& targets,
                  float gradient_scale, const Tensor& loss, const Tensor& dlogits)

}  // namespace trireme::ops
