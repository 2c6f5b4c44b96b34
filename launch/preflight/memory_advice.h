// Suggests options that need less memory.
#pragma once

#include <cstdint>
#include <string>

#include "launch/config/run_config.h"

namespace trireme::launch {

/// The single changes of a complete configuration that lower its predicted memory the most and leave what it
/// trains as it is but for rounding: "each of these options alone would need, predicted per rank:
/// --train.recompute full (60.1 GiB, which fits); ...". Those that are predicted to fit `capacity` bytes (0:
/// not known) come first, and say so; at most four. Empty when there are none, or the vocabulary is not
/// known.
std::string memory_advice(const RunConfig& config, int threads_per_rank, int64_t capacity);

}  // namespace trireme::launch
