// Gathers full parameters on one rank, from any layout.
#pragma once

#include <functional>

#include "parallel/checkpoint/checkpointed_model.h"
#include "parallel/plan/parallel_context.h"
#include "parallel/training/training_step.h"

namespace trireme {

/// Calls `take` on world rank 0 with every parameter of the model in the order of the forward pass and its
/// whole f32 weights or reduced gradient (TrainingStep::for_each_parameter), one at a time. All ranks call
/// it.
void collect_parameters(Context& ctx, const ParallelContext& parallel, const CheckpointedModel& model,
                        TrainingStep& step, ParameterState state, const ParameterVisitor& take);

}  // namespace trireme
