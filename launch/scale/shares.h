// A point's step against the baseline's: where its time goes, and what of that is lost.
#pragma once

#include <vector>

#include "launch/scale/summary.h"

namespace trireme::launch {

/// A step, and how many rank-steps its tokens take.
struct PartsOfPoint {
  StepParts parts;
  int ranks = 1;
  int64_t tokens_per_step = 0;
};

/// With c(p) = ranks * p_ms / tokens_per_step, the time of ranks that part p takes for a token, and C their
/// sum:
///   compute          share min(c(compute), c0(compute)) / C, of the point and the baseline
///   slower compute   share (c(compute) - c0(compute)) / C where that is positive
///   others           share c(p) / C
///   lost of any      (c(p) - c0(p)) / C; of compute below 0 where a token is computed faster
std::vector<PartShare> shares_against(const PartsOfPoint& point, const PartsOfPoint& baseline);

}  // namespace trireme::launch
