// Placement of a model's layers on pipeline stages, by FLOPs.
#pragma once

#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "parallel/plan/parallel_plan.h"

namespace trireme {

/// Cost of each layer of the model in the order of the forward pass, embedding first and head last: floating-
/// point operations of one token's forward pass in a sequence of `seq_len`. The embedding's cost is what it
/// moves, counted as operations at the ratio of a machine that does 10 while it moves a byte.
std::vector<double> layer_costs(const ModelConfig& config, int64_t seq_len);

/// Positions in that row at which the virtual stages begin, and the end (place_layers).
std::vector<int> layer_placement(const ModelConfig& config, int64_t seq_len, const ParallelPlan& plan);

/// "embedding + 3 blocks | 3 blocks + head", one piece a virtual stage; "3 x (2 blocks)" for three or more
/// that are equal, and of very many different ones the first and the last.
std::string placement_text(const ModelConfig& config, int64_t seq_len, const ParallelPlan& plan);

}  // namespace trireme
