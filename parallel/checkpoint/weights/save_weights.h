// Saves the full model to one file, from any layout.
#pragma once

#include <string>

#include "parallel/checkpoint/checkpointed_model.h"
#include "parallel/plan/parallel_context.h"
#include "parallel/training/training_step.h"

namespace trireme {

/// Writes the f32 weights to a safetensors file on world rank 0, parameter by parameter in the order of the
/// forward pass, each whole, and after them the routers' balancing biases. All ranks call it. Throws
/// AgreedEnd on all of them, and leaves no file: (numerics) when a weight is not finite, (resources) with the
/// system's words, which rank 0 has, when the file cannot be written.
void save_weights(Context& ctx, const ParallelContext& parallel, const CheckpointedModel& model,
                  TrainingStep& step, const std::string& path);

}  // namespace trireme
