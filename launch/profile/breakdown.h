// The arithmetic behind StepBreakdown: what ranks measured of themselves becomes shares of a step.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "launch/report/step_breakdown.h"
#include "parallel/plan/parallel_plan.h"

namespace trireme::launch {

/// What a rank waits along.
enum class Axis : uint8_t { data, tensor, context, expert, pipeline };
constexpr size_t kNumAxes = 5;
constexpr std::string_view to_string(Axis axis) {
  constexpr std::string_view kNames[] = {"data", "tensor", "context", "expert", "pipeline"};
  return kNames[static_cast<size_t>(axis)];
}

/// Of a process group, by its name. The world's is the outermost axis that is longer than 1, whose links are
/// the slowest; that of a group along several axes likewise.
Axis axis_of(std::string_view group, const ParallelPlan& plan);

/// A rank's own account of a window: milliseconds a step.
struct RankTimes {
  double step = 0;
  double compute = 0;    ///< passes, less waits
  double optimizer = 0;  ///< norm, clipping and update, less waits
  double data = 0, checkpoint = 0;
  std::array<double, kNumAxes> exposed{};  ///< waits for transfers
  double bubble = 0;                       ///< waits for ranks of other stages that had not come yet
  double late = 0;                         ///< waits for other ranks that had not
  double mem_bytes = 0;
};

struct RankedBreakdown {
  StepBreakdown all;
  RankTable ranks;
};

/// `stages`: of each rank. With c for compute, l for late and b for bubble of rank r, which is of stage s(r):
///
///   fastest(s)   = min c(r) over the ranks of s
///   middle       = the (lower) median of fastest(s) over all stages
///   excess(r)    = c(r) - fastest(s(r))          what a rank computes longer than the fastest of its stage
///   behind(r)    = max(0, fastest(s(r)) - middle) what its stage computes longer than the median one
///   lost(r)      = excess(r) + l(r)
///   E            = max over stages of min of lost(r) over the ranks of the stage: what all of a stage lose
///   moved(r)     = min(b(r), max(0, E - lost(r))), with several stages: these wait for the stage that waits
///
///   compute   = mean c(r) - excess(r) - behind(r)
///   imbalance = mean lost(r) + moved(r)
///   bubble    = mean b(r) + behind(r) - moved(r)
///   rest      = what is left of step
RankedBreakdown break_down(std::span<const RankTimes> ranks, std::span<const int> stages, int64_t steps,
                           const ParallelPlan& plan);

}  // namespace trireme::launch
