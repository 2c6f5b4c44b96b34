// Finds and loads the initial weights of a training.
#pragma once

#include <string>

#include "parallel/checkpoint/checkpointed_model.h"
#include "parallel/plan/parallel_context.h"
#include "runtime/device/context.h"

namespace trireme {

/// What `path` names: a file of weights; of a directory with a manifest that checkpoint, of a run's directory
/// its model.safetensors or, where it has none yet, its newest checkpoint. UserError (bad_input) where there
/// is nothing of these.
std::string find_initial_weights(const std::string& path);

/// Loads them, biases of routers too (load_weights(), load_state()). All ranks call it. UserError for what
/// those throw.
void load_initial_weights(Context& ctx, const ParallelContext& parallel, const CheckpointedModel& model,
                          const std::string& path, bool upcycle);

}  // namespace trireme
