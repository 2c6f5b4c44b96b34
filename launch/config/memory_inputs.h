// The inputs of the memory prediction of a run.
#pragma once

#include "launch/config/run_config.h"
#include "models/cost/memory_estimate.h"

namespace trireme::launch {

/// Of a complete configuration; its vocabulary as far as it is known.
MemoryInputs memory_inputs(const RunConfig& config, int threads_per_rank);

}  // namespace trireme::launch
