// The TrainingSession options of a configuration.
#pragma once

#include "launch/config/run_config.h"
#include "models/session/session_options.h"

namespace trireme::launch {

/// All but the layout, which is config.parallel, and the model.
SessionOptions session_options(const RunConfig& config);

}  // namespace trireme::launch
