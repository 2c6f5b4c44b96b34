#include "models/layers/activation.h"

#include "runtime/ops/activation.h"

namespace trireme {

void activation(Context& ctx, ActivationKind kind, const Tensor& h, const Tensor& a) {
  switch (kind) {
    case ActivationKind::gelu:
      return ops::gelu(ctx, h, a);
    case ActivationKind::swiglu:
      return ops::swiglu(ctx, h, a);
    case ActivationKind::geglu:
      return ops::geglu(ctx, h, a);
    case ActivationKind::gelu_erf:
      return ops::gelu_erf(ctx, h, a);
  }
}

void activation_backward(Context& ctx, ActivationKind kind, const Tensor& h, const Tensor& da,
                         const Tensor& dh) {
  switch (kind) {
    case ActivationKind::gelu:
      return ops::gelu_backward(ctx, h, da, dh);
    case ActivationKind::swiglu:
      return ops::swiglu_backward(ctx, h, da, dh);
    case ActivationKind::geglu:
      return ops::geglu_backward(ctx, h, da, dh);
    case ActivationKind::gelu_erf:
      return ops::gelu_erf_backward(ctx, h, da, dh);
  }
}

}  // namespace trireme
