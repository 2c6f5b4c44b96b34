// What Linux says of this process, for /metrics.
#pragma once

#include <optional>

namespace trireme::launch {

struct ProcessFacts {
  double resident_bytes = 0;
  double start_time = 0;   ///< seconds since 1970
  double cpu_seconds = 0;  ///< of all its threads
};

/// Nothing where /proc does not tell.
std::optional<ProcessFacts> process_facts();

}  // namespace trireme::launch
