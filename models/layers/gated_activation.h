// Gated activations (SwiGLU, GeGLU), by kind.
#pragma once

#include "models/config/kinds.h"
#include "runtime/ops/activation.h"

namespace trireme {

/// ops::swiglu or ops::geglu.
inline void gated_activation(Context& ctx, ActivationKind kind, const Tensor& gate_up, const Tensor& y) {
  kind == ActivationKind::geglu ? ops::geglu(ctx, gate_up, y) : ops::swiglu(ctx, gate_up, y);
}

inline void gated_activation_backward(Context& ctx, ActivationKind kind, const Tensor& gate_up,
                                      const Tensor& dy, const Tensor& dgate_up) {
  kind == ActivationKind::geglu ? ops::geglu_backward(ctx, gate_up, dy, dgate_up)
                                : ops::swiglu_backward(ctx, gate_up, dy, dgate_up);
}

}  // namespace trireme
