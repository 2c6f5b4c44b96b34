// The optimizer step that a run asks for.
#pragma once

#include "launch/config/run_config.h"
#include "parallel/training/training_step.h"

namespace trireme {

TrainingStepOptions step_options(const RunConfig& config);

}  // namespace trireme
