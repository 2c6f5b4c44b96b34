// The training run: data, model and layout brought together, and a loop over steps.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "launch/trainer/run_config.h"
#include "runtime/comm/communicator.h"

namespace trireme {

/// How this process was started.
struct Job {
  Communicator* world = nullptr;
  int local_rank = 0;  ///< among the ranks of this host
  int local_size = 1;
  std::vector<std::string> hosts;  ///< "node1 (8 ranks)", in the order of their first ranks
};

/// Trains as the complete configuration says; every rank of the world calls it. Rank 0 writes the banner, the
/// step lines and the summary to `out`, and the run directory. Throws UserError (numerics) when the loss or
/// the gradient norm is not finite.
void train(const RunConfig& config, const Job& job, std::FILE* out);

}  // namespace trireme
