// Predicted activation and buffer memory of a rank, by simulating the passes of its layers.
#pragma once

#include "models/cost/memory_estimate.h"

namespace trireme {

/// Bytes at one time.
struct PassPeaks {
  int64_t activations = 0;
  int64_t buffers = 0;  ///< of the layers: those of a step come on top
};

/// The peaks of the stage `inputs.stage` in a training step: what its layers take and give back
/// (models/spec/describe_activations.h), in the order in which the schedule runs their passes and as the
/// executor holds what goes from stage to stage.
PassPeaks simulate_passes(const MemoryInputs& inputs);

}  // namespace trireme
