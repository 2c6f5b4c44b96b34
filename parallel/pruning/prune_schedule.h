// How many units are zero after so many updates.
#pragma once

#include <cstdint>

#include "parallel/pruning/prune_config.h"

namespace trireme {

/// Whether units are chosen after update number `updates` (0: before the first).
bool chooses_after(const PruneConfig& config, int64_t updates);

/// Of the part that is zero at the end, how much is after so many updates: 1 - (1 - progress)^3 of the last
/// time at which units were chosen (arXiv 1710.01878, equation 1, from 0); 0 before start_step.
double schedule_factor(const PruneConfig& config, int64_t updates);

/// floor(part * units), as of the decimal number that `part` was given as: 0.29 of 100 are 29.
int64_t whole_part(double part, int64_t units);

}  // namespace trireme
