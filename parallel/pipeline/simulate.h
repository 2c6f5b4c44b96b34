// Simulates a pipeline schedule: when each action runs, the bubble, and peak activations.
#pragma once

#include <vector>

#include "parallel/pipeline/schedule.h"

namespace trireme {

/// Times of one micro-batch on a whole stage, in any unit; a chunk takes 1/num_chunks of them. A whole
/// backward takes both its parts.
struct ActionCosts {
  double forward = 1, backward_input = 1, backward_weight = 1;
  double send_latency = 0;  ///< from the end of a computation until its result can be used on another stage
};

struct Timeline {
  struct Span {
    Action action;
    double start, end;
  };
  std::vector<std::vector<Span>> spans_of_stage;  ///< computations only, in order
  double makespan = 0;                            ///< of the slowest stage, from 0
  std::vector<double> bubble_of_stage;            ///< share of the makespan in which the stage does nothing
  double bubble = 0;                              ///< mean over the stages
  /// Most (micro-batch, chunk) pairs whose forward began and whose backward, weight gradient included, is not
  /// yet done. One is 1/num_chunks of a stage's activations.
  std::vector<int> peak_activations_of_stage;
};

/// For a schedule without errors (check_schedule). Sends take the sender no time.
Timeline simulate(const Schedule& schedule, const ActionCosts& costs = {});

}  // namespace trireme
