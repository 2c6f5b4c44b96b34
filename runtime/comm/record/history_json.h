// What a recorder holds, as a file.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "runtime/comm/record/recorder.h"

namespace trireme {

/// In the manner of the dumps of PyTorch's Flight Recorder, so that who reads one reads the other: where the
/// rank is now (phase, step, micro_batch, layer, phase_since_ns), its groups (pg_config, pg_status) and the
/// calls (entries), oldest first within a group. Times are nanoseconds since 1970, by this host's clock now;
/// -1 stands for what is not there, as in CallSite. docs/reliability.md lists the fields.
nlohmann::json history_json(const Recorder& recorder);

}  // namespace trireme
