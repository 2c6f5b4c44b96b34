// What would need less memory, when a run has run out of it.
#pragma once

#include <cstdint>
#include <string>

#include "launch/config/run_config.h"

namespace trireme {

/// The single changes of a complete configuration that lower its predicted memory the most and leave what it
/// trains as it is but for rounding: "options that need less, each by itself, by prediction a rank:
/// --train.recompute full (60.1 GiB, which fits); ...". Those that are predicted to fit `capacity` bytes (0:
/// not known) come first, and say so; at most four. Empty when there are none, or the vocabulary is not
/// known.
std::string memory_advice(const RunConfig& config, int threads_per_rank, int64_t capacity);

}  // namespace trireme
