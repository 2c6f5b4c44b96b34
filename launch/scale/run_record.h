// What a run of a series has left in its directory: speed, memory, where its time went.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "launch/scale/step_parts.h"

namespace trireme::launch {

struct RunMeasurement {
  int64_t steps = 0;  ///< measured: those after the warm-up
  double step_ms = 0;
  double tok_s = 0;  ///< all tokens of these steps by all their time
  double mfu = 0;    ///< a share
  bool is_mfu_sure = true;
  int64_t measured_bytes = 0;      ///< peak of a rank, the largest that is known
  int64_t predicted_bytes = 0;     ///< 0: not known
  int hosts = 0;                   ///< 0: not known
  std::optional<StepParts> parts;  ///< of log windows that lie behind the warm-up
};

/// Reads metrics.jsonl, and where they are there ranks.jsonl and events.jsonl. Half a line at the end, and
/// lines that are no objects, are passed over. UserError (bad_input) where there is no step after the first
/// `warmup`.
RunMeasurement read_run_record(const std::string& directory, int64_t warmup);

/// The error that a run printed last, without "trireme: error:"; of several lines the first. Empty where
/// there is none, or no file.
std::string last_error_in(const std::string& log);

}  // namespace trireme::launch
