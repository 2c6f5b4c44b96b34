// Where a rank stands in each parallel dimension of a layout.
#pragma once

#include "launch/start/placement.h"
#include "parallel/plan/parallel_plan.h"

namespace trireme::launch {

/// dp, pp, cp and tp of every rank, and where experts are sharded ep, as ParallelContext has them. The plan
/// is complete.
std::vector<Coordinates> rank_coordinates(const ParallelPlan& plan);

}  // namespace trireme::launch
