// How a TrainingStep updates, beyond what the plan says.
#pragma once

#include <cstdint>

#include "parallel/optimizer/adamw_optimizer.h"
#include "parallel/optimizer/muon_optimizer.h"
#include "parallel/training/nonfinite_policy.h"

namespace trireme {

struct TrainingStepOptions {
  AdamWConfig adamw = {};
  MuonConfig muon = {};  ///< of what ShardingSpec::rules give to it
  double clip = 1.0;     ///< largest global gradient norm; 0: no clipping
  NonFiniteCheck check = NonFiniteCheck::step;
  uint64_t seed = 0;  ///< MicroBatch::seed
  /// The device's work of a step is captured, and submitted as two graphs (StepGraph): the passes and the
  /// update. Nothing in it may then wait for the device or for other streams than NCCL's: no routers,
  /// NonFiniteCheck::op, pipeline or communication through the host.
  bool use_graph = false;
};

}  // namespace trireme
