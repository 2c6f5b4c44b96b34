// A short training run in some layout, with everything that is to be the same in another.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "launch/trainer/run_config.h"
#include "parallel/module/stage_observer.h"
#include "runtime/comm/communicator.h"

namespace trireme {

/// Whole tensors by their global names.
using NamedTensors = std::map<std::string, std::vector<float>>;

struct RecordedStep {
  double loss = 0, grad_norm = 0;
  NamedTensors gradients;     ///< means over the tokens of the global batch; on rank 0
  std::vector<double> trace;  ///< LayoutTrace::take()
};

struct LayoutRecord {
  std::vector<RecordedStep> steps;
  NamedTensors weights;  ///< after the last step; on rank 0
};

/// Trains config.train.steps steps on samples made from random tokens, of which every seventh does not count,
/// at a constant rate, in the layout of config.parallel, which is resolved, on `device`. All ranks of `world`
/// call it. An `observer` sees every pass of this rank, before the trace does.
LayoutRecord record_layout(Communicator& world, const RunConfig& config, Device device = {},
                           StageObserver* observer = nullptr);

/// The same on one rank that recomputes nothing.
LayoutRecord record_one_rank(const RunConfig& config, Device device = {});

}  // namespace trireme
