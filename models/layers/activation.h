// The activation of a feed-forward part, by its kind.
#pragma once

#include "models/config/kinds.h"
#include "runtime/tensor/tensor.h"

namespace trireme {

class Context;

/// a[N,F] = the activation of h[N,F]; where it is_gated, h[N,2F] has the gate in its first F columns.
void activation(Context& ctx, ActivationKind kind, const Tensor& h, const Tensor& a);

/// dh, from da and h: in place of h where the activation is_gated, else in place of da.
void activation_backward(Context& ctx, ActivationKind kind, const Tensor& h, const Tensor& da,
                         const Tensor& dh);

}  // namespace trireme
