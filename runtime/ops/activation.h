// Activations of the feed-forward block.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

/// y = GELU(x) in the tanh form of GPT-2 (Hendrycks & Gimpel, arXiv 1606.08415, section 2). One compute type,
/// any shape.
void gelu(Context& ctx, const Tensor& x, const Tensor& y);
TRIREME_OP_BODIES(gelu, Context& ctx, const Tensor& x, const Tensor& y)

/// dx = dy * GELU'(x). dx may be dy.
void gelu_backward(Context& ctx, const Tensor& x, const Tensor& dy, const Tensor& dx);
TRIREME_OP_BODIES(gelu_backward, Context& ctx, const Tensor& x, const Tensor& dy, const Tensor& dx)

/// The exact GELU, x Phi(x) with the normal distribution's Phi (arXiv 1606.08415). One compute type, any
/// shape.
void gelu_erf(Context& ctx, const Tensor& x, const Tensor& y);
TRIREME_OP_BODIES(gelu_erf, Context& ctx, const Tensor& x, const Tensor& y)

/// dx = dy * (Phi(x) + x Phi'(x)). dx may be dy.
void gelu_erf_backward(Context& ctx, const Tensor& x, const Tensor& dy, const Tensor& dx);
TRIREME_OP_BODIES(gelu_erf_backward, Context& ctx, const Tensor& x, const Tensor& dy, const Tensor& dx)

/// y[N,F] = SiLU(gate) * up, where gate_up[N,2F] holds gate in its first F columns and up in the rest
/// (Shazeer, arXiv 2002.05202).
void swiglu(Context& ctx, const Tensor& gate_up, const Tensor& y);
TRIREME_OP_BODIES(swiglu, Context& ctx, const Tensor& gate_up, const Tensor& y)

/// dgate_up[N,2F] from dy[N,F]. dgate_up may be gate_up.
void swiglu_backward(Context& ctx, const Tensor& gate_up, const Tensor& dy, const Tensor& dgate_up);
TRIREME_OP_BODIES(swiglu_backward, Context& ctx, const Tensor& gate_up, const Tensor& dy,
                  const Tensor& dgate_up)

/// swiglu and swiglu_backward with gelu's GELU in place of SiLU.
void geglu(Context& ctx, const Tensor& gate_up, const Tensor& y);
TRIREME_OP_BODIES(geglu, Context& ctx, const Tensor& gate_up, const Tensor& y)
void geglu_backward(Context& ctx, const Tensor& gate_up, const Tensor& dy, const Tensor& dgate_up);
TRIREME_OP_BODIES(geglu_backward, Context& ctx, const Tensor& gate_up, const Tensor& dy,
                  const Tensor& dgate_up)

}  // namespace trireme::ops
