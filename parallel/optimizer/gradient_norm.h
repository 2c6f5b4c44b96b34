// The squared L2 norm of a gradient whose parameters are divided or copied over tensor,
// pipeline and expert-parallel ranks.
#pragma once

#include "parallel/module/parameter_storage.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

/// [1] f64, equal bit for bit on all ranks that hold parts or copies of the model, each of which calls it:
/// the sum over the whole model of squared gradients. A parameter that several ranks hold counts once;
/// bits do not depend on the ZeRO stage. NaN on all of them where `loss_sum` ([1] f64) is not finite on one:
/// what else a rank knows against the step rides on this reduction. The host waits for nothing.
Tensor sum_of_squared_gradients(Context& ctx, ParameterStorage& storage, const ParallelContext& parallel,
                                const Tensor& loss_sum);

}  // namespace trireme
