// How a signal ends a run that has not begun its steps.
#pragma once

#include "launch/config/run_config.h"
#include "launch/process/stop_request.h"
#include "launch/report/files/run_log.h"

namespace trireme::launch {

/// Of a run that saves checkpoints: says on the screen and in `log` (may be null, else it lives as long as
/// the StopRequest) that there is nothing to save, and ends the job with exit 75 (resumable). Empty for a run
/// that saves none.
EndAtStart end_at_start(const RunConfig& config, int rank, const RunLog* log);

}  // namespace trireme::launch
