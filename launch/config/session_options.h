// The session that a run asks for.
#pragma once

#include "launch/config/run_config.h"
#include "models/session/session_options.h"

namespace trireme {

/// All but the layout, which is config.parallel, and the model.
SessionOptions session_options(const RunConfig& config);

}  // namespace trireme
