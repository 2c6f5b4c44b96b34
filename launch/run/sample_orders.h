// The sample orders of a run, with errors if there are too few tokens.
#pragma once

#include "launch/config/run_config.h"
#include "launch/run/training_data.h"
#include "runtime/data/sample_order.h"

namespace trireme::launch {

/// UserError (bad_input), which names the part of the data that is too short for a sample, and what would do.
SampleOrder training_order(const RunConfig& config, const TrainingData& data);
SampleOrder validation_order(const RunConfig& config, const TrainingData& data);

}  // namespace trireme::launch
