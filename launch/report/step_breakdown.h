// StepBreakdown: where the time of a step goes, of all ranks together and rank by rank (docs/breakdown.md).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace trireme::launch {

/// Milliseconds a step: means over the steps of a log window and over all ranks. The parts add up to step_ms.
struct StepBreakdown {
  int64_t steps = 0;      ///< of the window
  double step_ms = 0;     ///< all of a step, and standing still for saves; without evaluations
  double compute_ms = 0;  ///< forward and backward passes, of the fastest rank of each stage
  /// Waiting for transfers, by the axis that they go along: of each axis longer than 1, in the mesh's order.
  std::vector<std::pair<std::string, double>> exposed_ms;
  double bubble_ms = 0;  ///< waiting for other stages, and what a stage computes longer than the median one
  double data_ms = 0;    ///< waiting for batches
  double imbalance_ms = 0;   ///< waiting for slower ranks, and what those compute longer
  double optimizer_ms = 0;   ///< norm, clipping and update
  double checkpoint_ms = 0;  ///< standing still for saves
  double rest_ms = 0;        ///< none of these
};

/// The same window, by rank: milliseconds a step.
struct RankTable {
  std::vector<double> compute_ms;    ///< the rank's own passes
  std::vector<double> wait_ms;       ///< for other ranks, in calls of all groups
  std::vector<double> imbalance_ms;  ///< its part of StepBreakdown::imbalance_ms
  std::vector<int64_t> mem_bytes;    ///< peak of bytes in use
};

/// Its parts by their names as people read them ("exposed data"), in the order of the struct.
std::vector<std::pair<std::string, double>> parts_of(const StepBreakdown& breakdown);

/// "waits: 12% imbalance, 8% exposed data": the parts that are no work, and at least 5 % of the step, the
/// largest first, three at most. Empty: none is.
std::string wait_field(const StepBreakdown& breakdown);

/// "time of a step: compute 71.2 %, exposed data 3.1 %, rest 0.4 %": all parts that are not nothing.
std::string breakdown_text(const StepBreakdown& breakdown);

/// "breakdown" in metrics.jsonl.
nlohmann::ordered_json to_json(const StepBreakdown& breakdown);
/// A line of ranks.jsonl, without its end.
std::string ranks_json_line(const RankTable& ranks, int64_t step, double time);

}  // namespace trireme::launch
