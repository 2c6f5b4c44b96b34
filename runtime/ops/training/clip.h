// Clipping by the global norm, decided where the gradients lie: nobody waits for a number.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

struct ClipOptions {
  double loss_scale = 1;  ///< by which the gradients are too large
  double clip = 0;        ///< largest norm; 0: no clipping
};

/// Of gradients that are sums over tokens of this weight [1] together (their number, where each counts once),
/// and of the sum of their squares [1]: norm [1] = the L2 norm of their mean, 0 where no token counts (a
/// weight of 0); factor [1] = what turns them into a mean clipped to
/// options.clip. A norm that is not finite makes the factor NaN, and a factor that is not finite on entry
/// stays so. factor: f32, all else f64. Pascanu et al., arXiv 1211.5063.
void clip_factor(Context& ctx, const ClipOptions& options, const Tensor& weight, const Tensor& squares,
                 const Tensor& norm, const Tensor& factor);
TRIREME_OP_BODIES(clip_factor, Context& ctx, const ClipOptions& options, const Tensor& weight,
                  const Tensor& squares, const Tensor& norm, const Tensor& factor)

}  // namespace trireme::ops
